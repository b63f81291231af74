package jobs

import (
	"bytes"
	"cmp"
	"slices"
)

// Filter says which jobs to list. Zero fields let everything through.
type Filter struct {
	Queue string
	Owner string
	State Phase
	After ID  // only jobs with a higher ID: accepted later
	Limit int // 1 to MaxPage; 0: 100

	last *ID // of what was found so far, once the page is full
}

// behind reports whether an ID is behind what fills the page.
func (f *Filter) behind(id *ID) bool { return f.last != nil && bytes.Compare(id[:], f.last[:]) > 0 }

// MaxPage is how many jobs a page has at most.
const MaxPage = 1000

// Page is a part of a list.
type Page struct {
	Jobs []View `json:"jobs"`
	Next ID     `json:"next,omitzero"` // After for the page that follows; zero: this is the last
}

func (f *Filter) matches(v *View) bool {
	return (f.Queue == "" || f.Queue == v.Queue) && (f.Owner == "" || f.Owner == v.Owner) && (f.State == 0 || f.State == v.State) &&
		bytes.Compare(v.ID[:], f.After[:]) > 0
}

// List returns jobs in the order of their IDs, as this node knows them. Each page looks at all jobs, a part at a time, so that commands wait for a
// part at most; jobs that come and go meanwhile may or may not be listed.
func (s *Service) List(f Filter) (Page, error) {
	f.Limit = max(1, min(cmp.Or(f.Limit, 100), MaxPage))
	var found []View
	for cursor, last := uint32(0), false; !last; last = cursor == 0 {
		var part []View
		if err := s.log.Read(func(st *State) { part, cursor = st.Page(&f, cursor) }); err != nil {
			return Page{}, err
		}
		found = append(found, part...)
		slices.SortFunc(found, func(a, b View) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		if found = found[:min(len(found), f.Limit+1)]; len(found) > f.Limit {
			last := found[f.Limit].ID
			f.last = &last
		}
	}
	p := Page{Jobs: found}
	if len(found) > f.Limit {
		p.Jobs = found[:f.Limit]
		p.Next = p.Jobs[f.Limit-1].ID
	}
	return p, nil
}
