require "set"

# A shop.
module Shop
  # An account of the shop.
  class Account < Base
    include Counting

    attr_reader :name

    def initialize(name)
      super()
      @name = name
    end

    def total
      sum = entries.sum { |entry| entry.amount }
      sum.zero? ? 0 : sum
    end

    def self.open(name)
      account = new(name)
      account.save!
    end

    class << self
      def find(name)
        found = all.find { |one| one.name == name }
        found or raise "missing"
      end
    end

    def [](key)
      value = fetch(key)
      value
    end
  end
end

def add(left, right)
  left = left.to_i
  left + right
end

describe Shop do
  it "adds amounts" do
    expect(add(1, 2)).to eq(3)
    expect(add(0, 0)).to eq(0)
  end
end
