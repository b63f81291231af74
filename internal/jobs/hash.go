package jobs

import "encoding/binary"

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const golden = 0x9e3779b97f4a7c15

// chain hashes numbers in their order, after those that gave h.
func chain(h uint64, values ...uint64) uint64 {
	for _, v := range values {
		h = mix(h^v) + golden
	}
	return h
}

// hash is the hash of a job's id for an index. Its high bits, which say the shard, are the millisecond in which the id was made: what comes together is
// near each other in memory, and so is, in the order of acceptance, what is claimed and done together. With a million jobs in random places every
// look waits for memory and for the tables of its pages, which makes accepting and finishing a job twice as slow as with a thousand.
func (id *ID) hash() uint64 {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
	return hi>>16<<(64-shardBits) | mix(hi^mix(lo))>>shardBits
}

// hashDigest is the hash of the digest of a key for an index.
func hashDigest(digest *[16]byte) uint64 {
	hi, lo := words(digest)
	return mix(hi ^ mix(lo))
}

func words(id *[16]byte) (hi, lo uint64) {
	return binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
}
