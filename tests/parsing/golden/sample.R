library(stats)

# Adds an amount.
add <- function(account, amount) {
  if (amount <= 0) {
    stop("no amount")
  }
  account$balance <- account$balance + amount
  account
}

total = function(accounts) {
  amounts <- sapply(accounts, function(a) a$balance)
  sum(amounts)
}

setMethod("show", "Account", function(object) {
  text <- format(object)
  cat(text)
})

setClass("Account", representation(
  name = "character",
  balance = "numeric"
))
