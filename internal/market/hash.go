package market

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
		n := min(8, len(name))
		var v uint64
		for i := range n {
			v |= uint64(name[i]) << (8 * i)
		}
		h = mix(h^v) + 0x9e3779b97f4a7c15
		name = name[n:]
	}
	return h
}

// words are the two halves of an id.
func (id *ID) words() (hi, lo uint64) {
	return binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
}
