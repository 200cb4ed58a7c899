<?php

namespace Shop;

use Shop\Support\Base;

/** An account of the shop. */
final class Account extends Base implements Counting
{
    use Audited;

    public function __construct(private string $name)
    {
        parent::__construct($name);
        $this->balance = 0;
    }

    public function total(): int
    {
        $amounts = array_map(fn ($entry) => $entry->amount, $this->entries());
        return array_sum($amounts);
    }
}

interface Counting
{
    public function total(): int;
    public function isEmpty(): bool;
}

trait Audited
{
    public function audit(): void
    {
        foreach ($this->entries() as $entry) {
            Log::write($entry);
        }
    }
}

enum State: string
{
    case Open = 'open';
    case Closed = 'closed';
}

function add(int $left, int $right): int
{
    $sum = $left + $right;
    return max($sum, 0);
}
