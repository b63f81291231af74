package ordered_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/ordered"
)

// The list is a map whose keys are sorted when somebody asks.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l ordered.List[int]
		model := map[string]int{}
		for n := range rapid.IntRange(0, 400).Draw(t, "steps") {
			step(t, &l, model, n)
		}
		compare(t, &l, model, "")
		compare(t, &l, model, rapid.StringN(0, 3, 3).Draw(t, "from"))
	})
}

func step(t *rapid.T, l *ordered.List[int], model map[string]int, n int) {
	switch key := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00é")), 0, 4, -1).Draw(t, "key"); rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		old, found := l.Delete(key)
		was, there := model[key]
		delete(model, key)
		if old != was || found != there {
			t.Fatalf("Delete(%q) = %d, %v; want %d, %v", key, old, found, was, there)
		}
	case 1:
		v, ok := l.Get(key)
		if was, there := model[key]; v != was || ok != there {
			t.Fatalf("Get(%q) = %d, %v; want %d, %v", key, v, ok, was, there)
		}
	default:
		old, replaced := l.Put(key, n)
		was, there := model[key]
		model[key] = n
		if old != was || replaced != there {
			t.Fatalf("Put(%q) = %d, %v; want %d, %v", key, old, replaced, was, there)
		}
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// compare looks at all keys from one on, and at a page of them.
func compare(t fataler, l *ordered.List[int], model map[string]int, from string) {
	t.Helper()
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(model)), func(k string) bool { return k < from })
	var got []string
	for k, v := range l.From(from) {
		if v != model[k] {
			t.Fatalf("%q has %d, want %d", k, v, model[k])
		}
		got = append(got, k)
	}
	if l.Len() != len(model) || !slices.Equal(got, keys) {
		t.Fatalf("%d keys, from %q on %q; want %d, %q", l.Len(), from, got, len(model), keys)
	}
	page := 0
	for range l.From(from) {
		if page++; page == 3 {
			break
		}
	}
	if page != min(3, len(keys)) {
		t.Fatalf("a page of %d", page)
	}
}

// Thousands of keys in several orders make leaves split and join.
func TestManyLeaves(t *testing.T) {
	const n = 5000
	for name, order := range map[string]func(i int) int{
		"rising":    func(i int) int { return i },
		"falling":   func(i int) int { return n - 1 - i },
		"scattered": func(i int) int { return i * 7919 % n },
	} {
		t.Run(name, func(t *testing.T) {
			var l ordered.List[int]
			model := map[string]int{}
			for i := range n {
				key := fmt.Sprintf("%05d", order(i))
				l.Put(key, i)
				model[key] = i
			}
			compare(t, &l, model, "")
			compare(t, &l, model, "02500x")
			for i := range n {
				key := fmt.Sprintf("%05d", order(i*3%n))
				if _, found := l.Delete(key); !found {
					t.Fatalf("%s is gone", key)
				}
				delete(model, key)
				if i%499 == 0 {
					compare(t, &l, model, strconv.Itoa(i%10))
				}
			}
			compare(t, &l, model, "")
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var l ordered.List[int]
			for i := range n {
				l.Put(fmt.Sprintf("%010d", i*7919%n), i)
			}
			b.ResetTimer()
			for i := range b.N {
				key := fmt.Sprintf("%010d", i*7919%n)
				l.Delete(key)
				l.Put(key, i)
			}
		})
	}
}
