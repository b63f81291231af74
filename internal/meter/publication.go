package meter

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/window"
)

// A publication is what a node tells the others: its counts by age, stamped with the time of the clock that all share.
type publication struct {
	counts  snapshots
	leftOut uint64 // names that did not fit
}

// maxPublication bounds, roughly, the bytes of a publication. With 20 letters to a name it holds 10,000 clients with 130
// buckets that are not empty each, or 2300 with 600.
const maxPublication = 4 << 20

// publish makes the publication of counts. The names that counted least are left out of what does not fit.
func publish(counts snapshots) publication {
	p := publication{counts: make(snapshots, len(kinds))}
	room := maxPublication
	for _, k := range []Kind{Route, Client, Refused} { // there are few routes
		s := counts[k]
		whole := len(s.Windows)
		s.Windows, room = fit(s.Windows, room)
		p.leftOut += uint64(whole - len(s.Windows))
		p.counts[k] = s
	}
	return p
}

// fit returns the windows that fit into room, in the order of their names, and the room that is left.
func fit(list []window.Named, room int) ([]window.Named, int) {
	size := func(n window.Named) int { return len(n.Name) + 4 + 3*len(n.Buckets) }
	all := 0
	for _, n := range list {
		all += size(n)
	}
	if all <= room {
		return list, room - all
	}
	type sized struct {
		named window.Named
		total uint64
	}
	byTotal := make([]sized, len(list))
	for i, n := range list {
		s := window.Snapshot{Buckets: n.Buckets}
		byTotal[i] = sized{n, s.Total()}
	}
	slices.SortStableFunc(byTotal, func(a, b sized) int { return cmp.Compare(b.total, a.total) })
	var fitting []window.Named
	for _, n := range byTotal {
		if room -= size(n.named); room < 0 {
			break
		}
		fitting = append(fitting, n.named)
	}
	slices.SortFunc(fitting, func(a, b window.Named) int { return strings.Compare(a.Name, b.Name) })
	return fitting, 0
}

// publicationMagic begins a publication; its last byte is the version.
const publicationMagic = "sluice-meters\x02"

// errPublication says that bytes are no publication of this version.
var errPublication = errors.New("not readable by this version")

// encode writes p as its magic, the number of names left out, and a length and a snapshot for each kind.
func (p *publication) encode() ([]byte, error) {
	data := binary.AppendUvarint([]byte(publicationMagic), p.leftOut)
	for _, k := range kinds {
		s, err := p.counts[k].MarshalBinary()
		if err != nil {
			return nil, err
		}
		data = append(binary.AppendUvarint(data, uint64(len(s))), s...)
	}
	return data, nil
}

// decodePublication reads what encode wrote. The snapshots carry checksums of their own.
func decodePublication(data []byte) (p publication, err error) {
	rest, ok := strings.CutPrefix(string(data), publicationMagic)
	if !ok {
		return p, errPublication
	}
	leftOut, n := binary.Uvarint([]byte(rest))
	if n <= 0 {
		return p, errPublication
	}
	p = publication{counts: make(snapshots, len(kinds)), leftOut: leftOut}
	unread := data[len(publicationMagic)+n:]
	for _, k := range kinds {
		size, n := binary.Uvarint(unread)
		if n <= 0 || size > uint64(len(unread)-n) {
			return publication{}, errPublication
		}
		var s window.TableSnapshot
		if err := s.UnmarshalBinary(unread[n : n+int(size)]); err != nil {
			return publication{}, fmt.Errorf("%w: %w", errPublication, err)
		}
		p.counts[k], unread = s, unread[n+int(size):]
	}
	return p, nil
}

// stale is the age from which on a publication says nothing about its node's present: a node publishes every second.
const stale = 5 * time.Second

// sum adds up readings of several nodes by kind and name.
type sum struct {
	list  []reading
	index map[Kind]map[string]int // place in list
}

func newSum(list []reading) *sum {
	s := &sum{list: list, index: map[Kind]map[string]int{Client: {}, Refused: {}, Route: {}}}
	for i, r := range list {
		s.index[r.kind][r.name] = i
	}
	return s
}

func (s *sum) add(r reading) {
	i, known := s.index[r.kind][r.name]
	if !known {
		s.index[r.kind][r.name] = len(s.list)
		s.list = append(s.list, r)
		return
	}
	s.list[i].count += r.count
	for j, rate := range r.rates {
		s.list[i].rates[j] += rate
	}
}

// addPublication adds what p counts in the timeframe up to now on the clock that p is stamped by.
//
// A rate is that of the moment when p was published, or else the rate over the last second, of which the node has not yet
// told, would always be too low. If p is stale its node has gone, and so have its requests: then it is that of now.
func (s *sum) addPublication(p *publication, now time.Time, timeframe time.Duration) {
	for _, k := range kinds {
		counts := p.counts[k]
		age := min(max(now.Sub(counts.Taken), 0), 2*window.MaxTimeframe) // by then all is over, and no sum overflows
		present := age + counts.Elapsed                                  // since the newest bucket began
		lately := counts.Elapsed
		if age > stale {
			lately = present
		}
		for _, n := range counts.Windows {
			r := reading{kind: k, name: n.Name, count: countSince(n.Buckets, counts.Precision, present, timeframe)}
			if r.count == 0 {
				continue
			}
			for i, span := range spans {
				r.rates[i] = rateOf(&counts, n.Buckets, lately, span)
			}
			s.add(r)
		}
	}
}

// countSince sums the buckets that began less than a timeframe ago, as a window does: never one that holds a request older
// than that. present is the time since the newest one began.
func countSince(list []window.Bucket, precision, present, timeframe time.Duration) (count uint64) {
	for _, b := range list {
		if present+time.Duration(b.Age)*precision >= timeframe {
			break
		}
		count += b.Count
	}
	return count
}

// rateOf returns how many per second were counted in the last span: in just so many buckets that they cover it, divided by
// the time that they cover. present is the time since the newest one began.
func rateOf(s *window.TableSnapshot, list []window.Bucket, present, span time.Duration) float64 {
	oldest := 0 // age of the last bucket to sum
	if missing := span - present; missing > 0 {
		oldest = int((missing-1)/s.Precision) + 1
	} else if missing <= -s.Precision {
		return 0 // the newest bucket ended before the span began
	}
	oldest = min(oldest, int((s.Timeframe-1)/s.Precision))
	count := uint64(0)
	for _, b := range list {
		if b.Age > oldest {
			break
		}
		count += b.Count
	}
	covered := present + time.Duration(oldest)*s.Precision
	return float64(count) / max(covered, s.Precision).Seconds()
}
