import { sum } from "./sum";

/** What can be counted. */
export interface Counting {
  total(): number;
  isEmpty(): boolean;
}

export type Entry = {
  amount: number;
  note?: string;
};

export enum State {
  Open,
  Closed,
}

export abstract class Account<T> extends Base implements Counting {
  private balance = 0;

  constructor(private readonly name: string) {
    super(name);
    this.balance = 0;
  }

  total(): number {
    const amounts = this.entries().map((entry) => entry.amount);
    return amounts.reduce(sum, 0);
  }

  abstract isEmpty(): boolean;
}

namespace Shop {
  export function open(name: string): Account<number> {
    const account = make(name);
    return account;
  }
}

export const add = async (left: number, right: number): Promise<number> => {
  const result = await sum(left, right);
  return result;
};

export function identity<T>(value: T): T {
  const same = value;
  return same;
}
