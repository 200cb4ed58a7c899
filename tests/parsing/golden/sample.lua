local sum = require("sum")
local Account = {}

-- Opens an account.
function Account.open(name)
  local account = setmetatable({ name = name }, Account)
  return account
end

function Account:add(amount)
  if amount <= 0 then
    error("no amount")
  end
  self.balance = self.balance + amount
end

local function total(entries)
  local amount = 0
  for _, entry in ipairs(entries) do
    amount = sum(amount, entry.amount)
  end
  return amount
end

Account.close = function(account)
  account.open = false
  return account
end

local find = function(name)
  local found = accounts[name]
  return found
end

return {
  post = function(entry)
    local saved = store(entry)
    return saved
  end,
}
