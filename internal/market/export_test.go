package market

// What tests reach beyond the package's API.

// A Command is a command as its parts.
type Command struct {
	Kind          string // buy, sell, cancel, lease or return
	Time          uint64 // milliseconds since 1970
	Key           *ID    // of an order: the hash of its idempotency key; the id of a lease
	Name          string
	Volume, Price uint64
	Bid           uint64
}

// Encode returns the bytes that go into the log.
func (c Command) Encode() []byte {
	k := kind(0)
	for i, name := range kindNames {
		if name == c.Kind {
			k = kind(i)
		}
	}
	in := command{kind: k, time: c.Time, volume: c.Volume, price: c.Price, bid: c.Bid, name: c.Name, keyed: c.Key != nil}
	if c.Key != nil {
		in.key = *c.Key
	}
	return appendCommand(nil, &in)
}

// Again encodes what parsing cmd gave. It reports false if cmd is no command.
func Again(cmd []byte) ([]byte, bool) {
	c, ok := parseCommand(cmd)
	return appendCommand(nil, &c), ok
}

// Bound lowers the bounds of a state.
func (s *State) Bound(users, bids, keys, leases int) {
	s.bounds = bounds{users, keys, leases}
	s.book.MaxBids = bids
}

// Decode reads the body of a bid or a sale. It returns the field that is wrong, "" if none is, and the reason.
func Decode(body []byte, sale bool) (username string, volume, price uint64, field, reason string) {
	s := buySchema
	if sale {
		s = sellSchema
	}
	var p posted
	if err := p.decode(body, s); err != nil {
		return "", 0, 0, err.field, err.reason
	}
	return p.username, p.volume, p.price, "", ""
}

// A Route is what a server answers.
type Route struct{ Method, Path string }

// Routes lists them.
func Routes() (all []Route) {
	for _, r := range routes {
		all = append(all, Route{r.method, r.path})
	}
	return all
}

// Streams is how many clients may listen to events.
const Streams = maxStreams

// Begin makes a market begin with a state that is not in its log.
func (o *Options) Begin(s *State) { o.state = s }
