package market

// fills are the latest fills, in a ring. Fills are numbered in the order of the log, from 1.
type fills struct {
	last  uint64 // number of the latest
	chain uint64 // a hash over all
	ring  paged[fill]
}

type fill struct {
	time   uint64
	bid    uint64
	price  uint64
	volume uint64
	open   uint64 // of the bid, after this
	user   uint32
}

func (f *fills) add(v fill) {
	f.last++
	f.chain = digest(f.chain, f.last, v.time, v.bid, v.price, v.volume, v.open, uint64(v.user))
	*f.place(f.last) = v
}

// place is where a fill lies. Places are made as they are needed.
func (f *fills) place(number uint64) *fill {
	i := uint32((number - 1) % MaxFills)
	if int(i) == f.ring.len() {
		f.ring.grow()
	}
	return f.ring.at(i)
}

// first is the number of the oldest fill that is remembered; it is above last if none is.
func (f *fills) first() uint64 { return f.last + 1 - min(f.last, MaxFills) }
