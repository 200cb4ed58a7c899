package shop;

import java.util.List;

/** An account of the shop. */
@Entity
public class Account extends Base implements Counting {
    private long balance;

    /** Opens an account. */
    public Account(String name) {
        super(name);
        this.balance = 0;
    }

    @Override
    public long total() {
        long sum = 0;
        for (Entry entry : entries()) {
            sum += entry.amount();
        }
        return sum;
    }

    enum State {
        OPEN,
        CLOSED;

        boolean isOpen() {
            boolean open = this == OPEN;
            return open;
        }
    }

    static class Builder {
        Account build() {
            var made = new Account("a");
            return made;
        }
    }
}

interface Counting {
    long total();

    default boolean isEmpty() {
        long total = total();
        return total == 0;
    }
}

record Entry(long amount, String note) {
    Entry {
        if (amount < 0) {
            throw new IllegalArgumentException();
        }
    }
}

@interface Audited {
    String value() default "";
    int level() default 0;
}
