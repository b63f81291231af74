package book

// Hash returns a hash of the state: the open bids and their order, the leftover supply, all that was sold, and the number
// that the next bid gets. Books with equal states have equal hashes, however they came to be; other states have another,
// but for one chance in 2⁶⁴. The function is part of the format of snapshots and changes only with their version.
//
// It takes O(1), since every command keeps it up to date. It finds nodes that disagree; it is no proof against somebody
// who may choose two states to look alike.
func (b *Book) Hash() uint64 {
	return mix(b.digest + mix(b.last+salt1) + mix(b.left+salt2) + mix(b.sold+salt3))
}

// digest returns a hash of a bid and its place. The sum of all digests, mod 2⁶⁴, depends neither on the order in which
// bids came nor on where they lie, and can be undone for each: Bellare and Micciancio, "A New Paradigm for Collision-free
// Hashing: Incrementality at Reduced Cost" (EUROCRYPT 1997), with a mixer in place of their cryptographic function.
func (s *slot) digest() uint64 {
	return mix(mix(s.id+salt1) + mix(s.seq+salt2) + mix(s.owner+salt3) + mix(s.price+salt4) + mix(s.open+salt5))
}

// The salts tell the fields apart. They are the first bits of the fractions of √2, √3, √5, √7 and √11 (FIPS 180-4, 5.3.5).
const (
	salt1 = 0x6a09e667f3bcc908
	salt2 = 0xbb67ae8584caa73b
	salt3 = 0x3c6ef372fe94f82b
	salt4 = 0xa54ff53a5f1d36f1
	salt5 = 0x510e527fade682d1
)

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
// 2014), a bijection in which every bit of x changes each bit of the result with a probability near one half.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
