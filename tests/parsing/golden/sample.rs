//! The ledger.
use std::collections::HashMap;

/// An account of the shop.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    balance: i64,
}

pub enum Entry {
    Posted(i64),
    Void { reason: String },
}

pub trait Counting {
    fn total(&self) -> i64;
    fn is_empty(&self) -> bool {
        let total = self.total();
        total == 0
    }
}

impl Account {
    /// Opens an account.
    pub fn open(name: &str) -> Self {
        let name = name.to_string();
        Self { name, balance: 0 }
    }
}

impl<T: Clone> Counting for Ledger<T> {
    fn total(&self) -> i64 {
        let add = |a: i64, b: i64| a + b;
        self.entries.iter().fold(0, add)
    }
}

mod inner {
    pub fn close(account: &mut super::Account) -> Result<(), String> {
        match account.balance {
            0 => Ok(()),
            _ => Err("not empty".into()),
        }
    }
}

macro_rules! post {
    ($ledger:expr, $amount:expr) => {
        $ledger.push($amount)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn opens_an_account() {
        let account = super::Account::open("a");
        assert_eq!(account.balance, 0);
    }
}
