package gateway

import (
	"net"
	"testing"
)

func dialTCP(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc.(*net.TCPConn)
}

// No payload makes the reader panic, or read what isn't there.
func FuzzParseKept(f *testing.F) {
	f.Add([]byte{keptVersion, keptTrusted | keptMinor0, 7, 4, 127, 0, 0, 1, 2, 'i', 'd', 4, 'P', 'O', 'S', 'T', 4, '/', 'a', '?', 'b', 1, 'h', 1, 1, 'X', 1, 'y', 'z'})
	f.Add([]byte{keptVersion, 0, 0, 0, 0, 1, 'P', 1, '/', 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, p []byte) {
		k, err := parseKept(p)
		if err != nil {
			return
		}
		n := len(k.body) + len(k.head.Target) + len(k.head.Method) + len(k.head.Host) + len(k.hop.RequestID)
		for _, field := range k.head.Fields {
			n += len(field.Name) + len(field.Value)
		}
		if n > len(p) || len(k.head.Method) == 0 || len(k.head.Target) == 0 || len(k.head.Path)+len(k.head.Query) > len(k.head.Target) {
			t.Errorf("%q has %+v", p, k)
		}
	})
}
