package book_test

import (
	"fmt"

	"github.com/sluicegate/sluice/book"
)

// Three users bid, a provider sells less than they want, and one of them gives up on the rest.
func Example() {
	var b book.Book
	allocated := map[uint64]uint64{}
	for _, o := range []book.Order{
		{Owner: 1, Volume: 100, Price: 3},
		{Owner: 2, Volume: 150, Price: 2},
		{Owner: 3, Volume: 50, Price: 4},
	} {
		bid, err := b.Bid(o)
		if err != nil {
			panic(err)
		}
		allocated[o.Owner] += bid.Volume // what leftover supply served at once
	}

	fills, err := b.Sell(250, nil)
	if err != nil {
		panic(err)
	}
	for _, f := range fills {
		allocated[f.Owner] += f.Volume
		fmt.Printf("user %d gets %d at %d, %d open\n", f.Owner, f.Volume, f.Price, f.Open)
	}
	cancelled, ok := b.Cancel(fills[2].ID)
	fmt.Println(cancelled.Volume, ok, allocated)
	// Output:
	// user 3 gets 50 at 4, 0 open
	// user 1 gets 100 at 3, 0 open
	// user 2 gets 100 at 2, 50 open
	// 50 true map[1:100 2:100 3:50]
}

// Two requests may be in flight; the others wait, the highest price first.
func Example_queue() {
	var q book.Book
	if _, err := q.Sell(2, nil); err != nil { // the slots
		panic(err)
	}
	waiting := map[string]book.ID{}
	names := []string{"a", "b", "c", "d", "e"}
	for i, price := range []uint64{0, 0, 0, 7, 7} {
		bid, err := q.Bid(book.Order{Owner: uint64(i), Volume: 1, Price: price})
		if err != nil {
			panic(err)
		}
		if bid.Open == 0 {
			fmt.Println(names[i], "goes at once")
		} else {
			waiting[names[i]] = bid.ID
		}
	}
	q.Cancel(waiting["d"]) // its client left

	var fills []book.Fill // kept for the next sale
	for range 3 {         // three requests finish
		var err error
		if fills, err = q.Sell(1, fills[:0]); err != nil {
			panic(err)
		}
		for _, f := range fills {
			fmt.Println(names[f.Owner], "goes next")
		}
	}
	fmt.Println(q.Left(), "slot is free")
	// Output:
	// a goes at once
	// b goes at once
	// e goes next
	// c goes next
	// 1 slot is free
}

// A depth of the two best prices.
func ExampleBook_Depth() {
	var b book.Book
	for _, price := range []uint64{3, 5, 4, 5} {
		if _, err := b.Bid(book.Order{Volume: 10, Price: price}); err != nil {
			panic(err)
		}
	}
	rows := 2
	for level := range b.Depth() {
		fmt.Printf("%+v\n", level)
		if rows--; rows == 0 {
			break
		}
	}
	// Output:
	// {Price:5 Volume:20 Bids:2}
	// {Price:4 Volume:10 Bids:1}
}

// Whoever has waited for 10 seconds is moved ahead of a price.
func ExampleBook_Reprice() {
	var q book.Book
	for owner, price := range []uint64{1, 5, 5} {
		if _, err := q.Bid(book.Order{Owner: uint64(owner), Volume: 1, Price: price}); err != nil {
			panic(err)
		}
	}
	q.Reprice(1, 6)
	first, _ := q.First()
	fmt.Println("next is", first.Owner)
	// Output: next is 0
}

// A node that starts again continues where it was, and can tell.
func ExampleBook_Hash() {
	var b book.Book
	bid, err := b.Bid(book.Order{Owner: 1, Volume: 10, Price: 5})
	if err != nil {
		panic(err)
	}
	snapshot, err := b.MarshalBinary()
	if err != nil {
		panic(err)
	}
	b.Cancel(bid.ID) // in the log, after the snapshot

	var again book.Book
	if err := again.UnmarshalBinary(snapshot); err != nil {
		panic(err)
	}
	fmt.Println(again.Hash() == b.Hash())
	again.Cancel(bid.ID)
	fmt.Println(again.Hash() == b.Hash())
	// Output:
	// false
	// true
}
