module Shop

using Statistics

"""
An account of the shop.
"""
mutable struct Account <: Counting
    name::String
    balance::Int
end

abstract type Counting end

"Adds an amount."
function add!(account::Account, amount::Int)
    amount > 0 || throw(ArgumentError("no amount"))
    account.balance += amount
end

total(accounts) =
    sum(account.balance for account in accounts)

function Base.show(io::IO, account::Account)
    text = string(account.name)
    print(io, text)
end

macro post(entry)
    quoted = esc(entry)
    return quoted
end

end
