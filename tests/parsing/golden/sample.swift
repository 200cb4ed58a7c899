import Foundation

/// An account of the shop.
public class Account: Base, Counting {
    let name: String

    init(name: String) {
        self.name = name
        super.init()
    }

    deinit {
        close()
        print("closed")
    }

    func total() -> Int {
        let amounts = entries().map { $0.amount }
        return amounts.reduce(0, +)
    }
}

protocol Counting {
    func total() -> Int
    func isEmpty() -> Bool
}

struct Entry {
    let amount: Int
    var note: String
}

enum State {
    case open
    case closed
}

extension Account {
    func post(_ amount: Int) throws {
        guard amount > 0 else { throw LedgerError.negative }
        add(amount)
    }
}

actor Registry {
    func find(name: String) -> Account? {
        let found = accounts[name]
        return found
    }
}

func add(_ left: Int, _ right: Int) -> Int {
    let sum = left + right
    return max(sum, 0)
}
