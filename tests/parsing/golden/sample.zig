const std = @import("std");

/// An account of the shop.
pub const Account = struct {
    name: []const u8,
    balance: i64,

    /// Opens an account.
    pub fn open(name: []const u8) Account {
        const account = Account{ .name = name, .balance = 0 };
        return account;
    }

    fn add(self: *Account, amount: i64) !void {
        if (amount <= 0) return error.NoAmount;
        self.balance += amount;
    }
};

const State = enum {
    open,
    closed,
};

const Value = union(enum) {
    amount: i64,
    note: []const u8,
};

pub fn total(entries: []const Account) i64 {
    var sum: i64 = 0;
    for (entries) |entry| sum += entry.balance;
    return sum;
}

test "adds amounts" {
    var account = Account.open("a");
    try account.add(1);
    try std.testing.expectEqual(account.balance, 1);
}
