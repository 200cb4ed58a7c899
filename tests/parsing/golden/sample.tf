terraform {
  required_version = ">= 1.5"
}

# The bucket of the ledger.
resource "aws_s3_bucket" "ledger" {
  bucket = "shop-${var.stage}"
  tags = {
    Name = "ledger"
  }
}

variable "stage" {
  type    = string
  default = "dev"
}

module "network" {
  source = "./network"
  cidr   = cidrsubnet(var.cidr, 8, 1)
}

data "aws_region" "current" {}

locals {
  names = [for one in var.names : upper(one)]
  count = length(var.names)
}

output "bucket" {
  value = aws_s3_bucket.ledger.arn
}
