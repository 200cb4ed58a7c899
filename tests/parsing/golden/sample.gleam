import gleam/list

/// An account of the shop.
pub type Account {
  Open(name: String, balance: Int)
  Closed
}

pub type Amount =
  Int

/// Adds an amount.
pub fn add(account: Account, amount: Int) -> Account {
  case account {
    Open(name, balance) -> Open(name, balance + amount)
    Closed -> panic as "closed"
  }
}

fn total(accounts: List(Account)) -> Int {
  accounts
  |> list.map(fn(account) { balance(account) })
  |> int.sum
}

@external(erlang, "ledger", "balance")
pub fn balance(account: Account) -> Int

pub const limit = 100
