package quota

import "encoding/binary"

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// digest hashes numbers in their order.
func digest(values ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, v := range values {
		h = mix(h^v) + 0x9e3779b97f4a7c15
	}
	return h
}

// digestName hashes a name, 8 bytes at a time.
func digestName(name string) uint64 {
	h := uint64(len(name))
	for len(name) > 0 {
		var word [8]byte
		name = name[copy(word[:], name):]
		h = mix(h^binary.LittleEndian.Uint64(word[:])) + 0x9e3779b97f4a7c15
	}
	return h
}

// flags says which limits are the user's own.
func (u *user) flags() (flags uint64) {
	if u.hasBytes {
		flags |= setBytes
	}
	if u.hasRate {
		flags |= setRate
	}
	return flags
}

func (u *user) digest() uint64 {
	return digest(1, u.hash, u.flags(), u.own.Bytes, uint64(u.own.Rate), uint64(u.month), u.used, u.reserved, uint64(u.holds))
}

func (h *hold) digest() uint64 {
	le := binary.LittleEndian
	return digest(2, le.Uint64(h.id[:8]), le.Uint64(h.id[8:]), h.user.hash, h.bytes, uint64(h.month), h.session)
}

// Hash returns a hash of the state, which every command keeps up to date.
func (s *State) Hash() uint64 {
	return digest(s.sums, s.now, s.defaults.Bytes, uint64(s.defaults.Rate))
}
