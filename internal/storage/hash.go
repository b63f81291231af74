package storage

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/internal/jobs"
)

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

// digestText hashes a text, 8 bytes at a time.
func digestText(text string) uint64 {
	h := uint64(len(text))
	for len(text) > 0 {
		var word [8]byte
		text = text[copy(word[:], text):]
		h = mix(h^binary.LittleEndian.Uint64(word[:])) + 0x9e3779b97f4a7c15
	}
	return h
}

func digestBlob(what uint64, id BlobID) uint64 {
	le := binary.LittleEndian
	return digest(what, le.Uint64(id[:8]), le.Uint64(id[8:]))
}

func digestWork(id jobs.ID, blob BlobID) uint64 {
	return digest(digestBlob(2, BlobID(id)), digestBlob(2, blob))
}

func (e *Entry) digest() uint64 {
	return digest(digestBlob(1, e.Blob), digestText(e.User), digestText(e.Bucket), digestText(e.Object), digestText(e.ContentType),
		digestText(e.FileName), digestText(string(e.SHA256[:])), e.Size, e.Length, e.Created, uint64(e.Month))
}

// Hash returns a hash of the state, which every command keeps up to date.
func (s *State) Hash() uint64 { return digest(s.jobs.Hash(), s.quota.Hash(), s.sums, s.garbage.sums) }
