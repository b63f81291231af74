package jobs

import "time"

// Durations as the clock of the state counts.
const (
	keyTTL   = Time(KeyTTL / time.Millisecond)
	keepDead = Time(KeepDead / time.Millisecond)
)

// expiry is when a tick forgets what may be forgotten from a time on: at the end of a second, so that ticks for that come one a second at most.
func expiry(at Time) Time { return at + (1000-at%1000)%1000 }

// key returns the number of a key, whose time may have passed; 0 if there is none.
func (s *State) key(digest *[16]byte) uint32 {
	return s.keyIndex.find(hashDigest(digest), func(i uint32) bool { return s.keys.at(i).digest == *digest })
}

// remember notes the key of a job. An earlier one with the same digest, whose time has passed, is found no more.
func (s *State) remember(c *command) {
	hash := hashDigest(&c.key)
	if i := s.key(&c.key); i != 0 {
		s.keyIndex.drop(hash, i)
	}
	i := s.keys.add()
	*s.keys.at(i) = keyRow{digest: c.key, job: c.spec.ID, at: s.now, fingerprint: c.spec.Fingerprint}
	s.linkKey(i)
	s.keyIndex.put(hash, i)
	s.sums += s.keys.at(i).digestOf()
	s.note(expiry(s.now + keyTTL))
}

func (s *State) linkKey(i uint32) {
	if s.lastKey != 0 {
		s.keys.at(s.lastKey).after = i
	} else {
		s.firstKey = i
	}
	s.lastKey = i
}

// forgetKey forgets the oldest key.
func (s *State) forgetKey() {
	i := s.firstKey
	k := s.keys.at(i)
	s.sums -= k.digestOf()
	s.keyIndex.drop(s.hashOfKey(i), i)
	if s.firstKey = k.after; s.firstKey == 0 {
		s.lastKey = 0
	}
	s.keys.remove(i)
}
