package ledger

import "fmt"

// Account is an account of the shop.
type Account struct {
	Name    string
	Balance int64
}

type Counter interface {
	Total() int64
	Empty() bool
}

type Amount = int64

// Open opens an account.
func Open(name string) *Account {
	fmt.Println(name)
	return &Account{Name: name}
}

func (a *Account) Add(amount int64) error {
	if amount <= 0 {
		return fmt.Errorf("no amount")
	}
	for i := 0; i < 3; i++ {
		go a.post(amount)
	}
	return nil
}

func Sum[T int | int64](values []T) (total T) {
	for _, value := range values {
		total += value
	}
	return
}

func (s Stack[T]) Push(value T) {
	defer s.unlock()
	s.values = append(s.values, value)
}
