// Package book matches bids with supply: the highest price first, and first come, first served within a price.
//
// # A market in five lines
//
// The zero [Book] is empty and ready:
//
//	var b book.Book
//	bid, err := b.Bid(book.Order{Owner: 7, Volume: 100, Price: 3}) // bid.ID names it, bid.Volume was served at once
//	fills, err := b.Sell(250, nil)                                 // one Fill for each bid that got something
//	cancelled, ok := b.Cancel(bid.ID)                              // what was still open, if anything
//	for level := range b.Depth() { /* best price first */ }
//
// A sale goes to the open bids in their order. A bid may be served in parts, and what is not served stays open in its
// place. Supply that nobody wants stays, and serves later bids at once, at any price. So at no moment do leftover supply
// and an open bid exist together. An order or a sale of volume 0 has no effect.
//
// # A queue
//
// The same book orders whoever waits for one of n slots. Sell(n) once, and the leftover supply is the free slots; a
// request bids for a volume of 1 and goes if it is served at once; whoever is done sells 1, and the one fill names the
// next to go; whoever gives up cancels. With one price for all this is a FIFO queue. To take k slots out of service, bid
// for k at the highest price.
//
// Ageing is the caller's, in one of two ways. If all who wait age at the same rate, their order never changes while they
// wait, so a bid's price can say it from the start: price minus arrival time, in units of whatever a step in price is
// worth. Otherwise [Book.Reprice] moves a bid; it lines up behind those who are at its new price already.
//
// # Numbers
//
// Volumes and prices are all of uint64. No sum wraps. A bid is refused ([ErrOverflow]) if the volume of all open bids
// would pass 64 bits, which bounds the volume at each price too; a sale is refused if all that was ever sold would. The
// latter also bounds the leftover supply, and whatever a caller adds up from fills: nobody can be served more than was
// sold. What is refused changes nothing.
//
// # Names
//
// An [ID] comes from a counter that never goes back, so it names one bid for ever: cancelling a bid that is gone finds
// nothing, whatever has taken its place in memory. Owner is opaque: a user's number, an index into the caller's table.
//
// # Determinism
//
// There is no clock, no lock, no goroutine and no randomness. The same commands in the same order give the same replies
// and the same state, on every machine. [Book.Hash] sums up the state in 64 bits and is kept up to date by every command,
// so asking for it is O(1): two nodes can compare it after each record. [Book.AppendBinary] writes a snapshot, versioned
// and checksummed; equal states give equal bytes. [Book.UnmarshalBinary] takes nothing that no book could have written.
//
// A book is not safe for concurrent use; its owner adds the lock.
//
// # How it is built
//
// Prices are a B+ tree, each with the first and last of its bids, which form a doubly linked list. Bids lie in chunks of
// an arena and point to each other by number, so the garbage collector has nothing to look at in them. An index finds a
// bid by its ID: a hash table grown by linear hashing (W. Litwin, "Linear Hashing", VLDB 1980), one bucket at a time.
//
// So with P prices, a bid, a cancel and each fill of a sale take O(log P) at worst; none of them ever waits for a table
// to be copied. (Finding an ID is O(1) on average over the IDs.) Nothing is allocated unless the book grows beyond its
// size so far. A bid takes 60 bytes, and a price 36 to 144. Memory follows the book down again: at most four times what
// the open bids need is kept, and a drained book keeps about 30 kB.
package book
