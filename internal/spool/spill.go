package spool

import "os"

// spill is the file that a body's older blocks go to: a ring of so many blocks. It is made when it is first needed, and
// has no name from then on, so that it is gone with the process however that ends.
type spill struct {
	dir    string
	blocks int64
	f      *os.File
}

func (s *spill) put(block int64, p []byte) error {
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, "sluice-spool-*")
		if err != nil {
			return err
		}
		os.Remove(f.Name())
		s.f = f
	}
	_, err := s.f.WriteAt(p, block%s.blocks*Block)
	return err
}

func (s *spill) get(block int64, p []byte) error {
	_, err := s.f.ReadAt(p, block%s.blocks*Block)
	return err
}

func (s *spill) close() {
	if s.f != nil {
		s.f.Close()
	}
}
