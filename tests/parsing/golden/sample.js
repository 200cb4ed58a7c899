import { sum } from "./sum.js";

/** An account of the shop. */
export class Account extends Base {
  #balance = 0;

  constructor(name) {
    super(name);
    this.name = name;
  }

  get balance() {
    const value = this.#balance;
    return value;
  }

  static async open(name) {
    const account = new Account(name);
    await account.save();
    return account;
  }
}

// Adds amounts.
export function add(left, right) {
  if (left < 0) throw new Error("negative");
  return sum(left, right);
}

const total = (entries) => {
  const amounts = entries.map((entry) => entry.amount);
  return amounts.reduce(add, 0);
};

export const post = async function (entry) {
  const saved = await store(entry);
  return saved;
};

module.exports.close = function (account) {
  account.open = false;
  return account;
};

const ledger = {
  find(name) {
    const found = this.accounts.get(name);
    return found;
  },
};

describe("ledger", () => {
  it("adds amounts", () => {
    const sum = add(1, 2);
    expect(sum).toBe(3);
  });
});
