package book

// A level is what is open at one price: a list of slots, the earliest first.
type level struct {
	volume     uint64
	head, tail uint32
	bids       uint32
}

const (
	fanout  = 16             // prices in a run at most
	fewest  = fanout / 4     // in a run that is not the root, at least
	merging = fanout * 3 / 4 // runs are merged into one of at most so many, so that the next insert does not split it again
)

// A run is a node of the ladder: prices in ascending order, each with its level, or with the runs from that price on. In
// the latter, price i is at most the lowest below it and above all those below i−1; price 0 of the first run is 0.
type run[R any] struct {
	n      int
	prices [fanout]uint64
	rows   [fanout]R
	spare  *run[R] // the next in a pool
}

type (
	leaf   = run[level]
	branch = run[node]
)

// A node is a leaf or a branch.
type node struct {
	branch *run[node]
	leaf   *run[level]
}

// A ladder is a B+ tree of the prices with open bids. Its zero value is empty. Pointers to levels are void after the next
// insert or remove.
type ladder struct {
	root     node
	count    int // prices
	leaves   pool[level]
	branches pool[node]
}

// upTo returns how many prices of r are at most price.
func (r *run[R]) upTo(price uint64) int {
	i := 0
	for i < r.n && r.prices[i%fanout] <= price {
		i++
	}
	return i
}

func (r *run[R]) insert(i int, price uint64, row R) {
	copy(r.prices[i+1:r.n+1], r.prices[i:r.n])
	copy(r.rows[i+1:r.n+1], r.rows[i:r.n])
	r.prices[i], r.rows[i] = price, row
	r.n++
}

func (r *run[R]) remove(i int) {
	copy(r.prices[i:], r.prices[i+1:r.n])
	copy(r.rows[i:], r.rows[i+1:r.n])
	r.n--
	clear(r.rows[r.n : r.n+1])
}

// shift moves the highest k rows of r to the beginning of right, which follows it.
func (r *run[R]) shift(k int, right *run[R]) {
	copy(right.prices[k:], right.prices[:right.n])
	copy(right.rows[k:], right.rows[:right.n])
	copy(right.prices[:k], r.prices[r.n-k:r.n])
	copy(right.rows[:k], r.rows[r.n-k:r.n])
	clear(r.rows[r.n-k : r.n])
	r.n, right.n = r.n-k, right.n+k
}

// pull moves the lowest k rows of right to the end of r.
func (r *run[R]) pull(k int, right *run[R]) {
	copy(r.prices[r.n:], right.prices[:k])
	copy(r.rows[r.n:], right.rows[:k])
	copy(right.prices[:], right.prices[k:right.n])
	copy(right.rows[:], right.rows[k:right.n])
	clear(right.rows[right.n-k : right.n])
	r.n, right.n = r.n+k, right.n-k
}

// join merges right into r if that leaves room to grow, and otherwise evens them out. It reports whether right is empty.
func (r *run[R]) join(right *run[R]) bool {
	switch {
	case r.n+right.n <= merging:
		r.pull(right.n, right)
	case r.n > right.n:
		r.shift((r.n-right.n)/2, right)
	default:
		r.pull((right.n-r.n)/2, right)
	}
	return right.n == 0
}

// leafOf returns the leaf where price is, if anywhere.
func (l *ladder) leafOf(price uint64) *leaf {
	at := l.root
	for at.branch != nil {
		at = at.branch.rows[at.branch.upTo(price)-1]
	}
	return at.leaf
}

// find returns the level of a price, or nil.
func (l *ladder) find(price uint64) *level {
	if l.count == 0 {
		return nil
	}
	leaf := l.leafOf(price)
	if i := leaf.upTo(price) - 1; i >= 0 && leaf.prices[i] == price {
		return &leaf.rows[i]
	}
	return nil
}

// best returns the highest price and its level. There must be one.
func (l *ladder) best() (uint64, *level) {
	at := l.root
	for at.branch != nil {
		at = at.branch.rows[at.branch.n-1]
	}
	last := at.leaf.n - 1
	return at.leaf.prices[last], &at.leaf.rows[last]
}

// worst returns the level of the lowest price. There must be one.
func (l *ladder) worst() *level { return &l.leafOf(0).rows[0] }

// insert adds a price that is not there and returns its level, which is empty.
func (l *ladder) insert(price uint64) *level {
	if l.root == (node{}) {
		l.root.leaf = l.leaves.take()
	}
	if l.root.full() {
		root := l.branches.take()
		root.insert(0, 0, l.root)
		l.root = node{branch: root}
		l.split(root, 0)
	}
	at := l.root
	for at.branch != nil {
		b := at.branch
		if i := b.upTo(price) - 1; b.rows[i].full() {
			l.split(b, i)
		}
		at = b.rows[b.upTo(price)-1]
	}
	l.count++
	i := at.leaf.upTo(price)
	at.leaf.insert(i, price, level{})
	return &at.leaf.rows[i]
}

func (n node) full() bool {
	return n.branch != nil && n.branch.n == fanout || n.leaf != nil && n.leaf.n == fanout
}

// split divides row i of b, which has room, in two.
func (l *ladder) split(b *branch, i int) {
	var right node
	var price uint64
	if from := b.rows[i]; from.leaf != nil {
		right.leaf = l.leaves.take()
		from.leaf.shift(fanout/2, right.leaf)
		price = right.leaf.prices[0]
	} else {
		right.branch = l.branches.take()
		from.branch.shift(fanout/2, right.branch)
		price = right.branch.prices[0]
	}
	b.insert(i+1, price, right)
}

// remove takes a price away, which must be there.
func (l *ladder) remove(price uint64) {
	l.count--
	l.removeBelow(l.root, price)
	if root := l.root.branch; root != nil && root.n == 1 {
		l.root = root.rows[0]
		root.remove(0)
		l.branches.give(root)
	}
}

// removeBelow takes a price out of what is below at, and returns how many rows at has left.
func (l *ladder) removeBelow(at node, price uint64) int {
	if at.leaf != nil {
		at.leaf.remove(at.leaf.upTo(price) - 1)
		return at.leaf.n
	}
	b := at.branch
	i := b.upTo(price) - 1
	if l.removeBelow(b.rows[i], price) < fewest {
		l.mend(b, min(i, b.n-2))
	}
	return b.n
}

// mend joins rows i and i+1 of b, one of which has too few rows.
func (l *ladder) mend(b *branch, i int) {
	left, right := b.rows[i], b.rows[i+1]
	switch {
	case left.leaf != nil && left.leaf.join(right.leaf):
		b.remove(i + 1)
		l.leaves.give(right.leaf)
	case left.leaf != nil:
		b.prices[i+1] = right.leaf.prices[0]
	case left.branch.join(right.branch):
		b.remove(i + 1)
		l.branches.give(right.branch)
	default:
		b.prices[i+1] = right.branch.prices[0]
	}
}

// descend calls visit for every price, best first, until it returns false.
func (l *ladder) descend(visit func(price uint64, l *level) bool) {
	if l.count > 0 {
		l.root.descend(visit)
	}
}

func (n node) descend(visit func(price uint64, l *level) bool) bool {
	if n.leaf != nil {
		for i := n.leaf.n - 1; i >= 0; i-- {
			if !visit(n.leaf.prices[i], &n.leaf.rows[i]) {
				return false
			}
		}
		return true
	}
	for i := n.branch.n - 1; i >= 0; i-- {
		if !n.branch.rows[i].descend(visit) {
			return false
		}
	}
	return true
}

// A pool keeps runs that are empty for the next that is needed: as many as are in use, and a few.
type pool[R any] struct {
	used, spares int
	spare        *run[R] // a list
}

const fewSpare = 4

func (p *pool[R]) take() *run[R] {
	p.used++
	r := p.spare
	if r == nil {
		return new(run[R])
	}
	p.spares--
	p.spare, r.spare = r.spare, nil
	return r
}

func (p *pool[R]) give(r *run[R]) {
	p.used--
	p.spares++
	p.spare, r.spare = r, p.spare
	for p.spares > p.used+fewSpare { // once or twice
		p.spares--
		p.spare = p.spare.spare
	}
}
