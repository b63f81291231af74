package flush_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// layers are random ones of a network with those hidden sizes.
func layers(random *rand.Rand, hidden ...int) []flush.Layer {
	inputs := flush.NumFeatures
	var all []flush.Layer
	for _, outputs := range append(hidden, 1) {
		var l flush.Layer
		for range outputs {
			row := make([]float32, inputs)
			for i := range row {
				row[i] = float32(random.NormFloat64())
			}
			l.Weights, l.Bias = append(l.Weights, row), append(l.Bias, float32(random.NormFloat64()))
		}
		all, inputs = append(all, l), outputs
	}
	return all
}

func network(t testing.TB, hidden ...int) *flush.Network {
	n, err := flush.NewNetwork(layers(rand.New(rand.NewPCG(1, 2)), hidden...), flush.Training{Command: "none", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLogit compares with the formulas, in float64.
func TestLogit(t *testing.T) {
	for _, hidden := range [][]int{nil, {1}, {5, 7}, {32, 32}, {64, 64, 64}} {
		random := rand.New(rand.NewPCG(1, 2))
		all := layers(random, hidden...)
		n, err := flush.NewNetwork(all, flush.Training{})
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			var x [flush.NumFeatures]float32
			for i := range x {
				x[i] = float32(random.NormFloat64())
			}
			got, want := float64(n.Logit(&x)), plain(all, x[:])
			if math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
				t.Errorf("%v: %g, want %g", hidden, got, want)
			}
		}
	}
}

// plain is the output of the layers.
func plain(all []flush.Layer, in []float32) float64 {
	x := make([]float64, len(in))
	for i, v := range in {
		x[i] = float64(v)
	}
	for i, l := range all {
		out := make([]float64, len(l.Bias))
		for j, row := range l.Weights {
			out[j] = float64(l.Bias[j])
			for k, w := range row {
				out[j] += float64(w) * x[k]
			}
			if i < len(all)-1 {
				out[j] = max(-1, min(1, bend(out[j])))
			}
		}
		x = out
	}
	return x[0]
}

func bend(x float64) float64 {
	x = max(-3, min(3, x))
	return x * (27 + x*x) / (27 + 9*x*x)
}

// TestBend: it is close to the hyperbolic tangent, and goes up everywhere.
func TestBend(t *testing.T) {
	last := float32(-1)
	for x := float32(-6); x < 6; x += 0.001 {
		y := flush.Bend(x)
		if math.Abs(float64(y)-math.Tanh(float64(x))) > 0.03 || y < last-1e-6 {
			t.Fatalf("Bend(%g) = %g after %g", x, y, last)
		}
		last = y
	}
}

func TestWriteAndLoad(t *testing.T) {
	training := flush.Training{Command: "sluice train", Seed: 7, Steps: 8, Figures: map[string]float64{"strict": 1.25}}
	n, err := flush.NewNetwork(layers(rand.New(rand.NewPCG(3, 4)), 32, 32), training)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := n.Write(&text); err != nil {
		t.Fatal(err)
	}
	again, err := flush.Load(bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Training(); got.Command != training.Command || got.Seed != 7 || got.Steps != 8 || got.Figures["strict"] != 1.25 {
		t.Errorf("%+v", got)
	}
	var x [flush.NumFeatures]float32
	for i := range x {
		x[i] = float32(i) / 10
	}
	if n.Logit(&x) != again.Logit(&x) {
		t.Errorf("%g is %g after it was written and read", n.Logit(&x), again.Logit(&x))
	}
}

// TestLoadRefuses breaks a sound file in one place after the other.
func TestLoadRefuses(t *testing.T) {
	var sound bytes.Buffer
	if err := network(t, 4, 3).Write(&sound); err != nil {
		t.Fatal(err)
	}
	edit := func(f func(map[string]any)) string {
		var file map[string]any
		if err := json.Unmarshal(sound.Bytes(), &file); err != nil {
			t.Fatal(err)
		}
		f(file)
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	layer := func(file map[string]any, i int) map[string]any { return file["layers"].([]any)[i].(map[string]any) }
	rows := func(file map[string]any, i int) []any { return layer(file, i)["weights"].([]any) }
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", "EOF"},
		"cut off":   {sound.String()[:sound.Len()/2], "unexpected EOF"},
		"no JSON":   {"policy", "invalid character"},
		"too long":  {strings.Repeat(" ", 1<<20) + sound.String(), "longer than 1048576 bytes"},
		"two files": {sound.String() + sound.String(), "something follows"},
		"NaN":       {strings.Replace(sound.String(), `"bias":[`, `"bias":[NaN,`, 1), "invalid character 'N'"},
		"infinite":  {edit(func(f map[string]any) { rows(f, 0)[1].([]any)[2] = 1e39 }), "cannot unmarshal"},
		"large":     {edit(func(f map[string]any) { rows(f, 0)[1].([]any)[2] = -10001 }), "a weight is -10001, expected −10000 to 10000"},
		"format":    {edit(func(f map[string]any) { f["format"] = "onnx" }), `its format is "onnx", expected "sluice flush policy"`},
		"version":   {edit(func(f map[string]any) { f["version"] = 2 }), "its version is 2, expected 1"},
		"field":     {edit(func(f map[string]any) { f["activation"] = "relu" }), "unknown field"},
		"none":      {edit(func(f map[string]any) { f["layers"] = []any{} }), "it has 0 layers, expected 1 to 4"},
		"outputs":   {edit(func(f map[string]any) { f["layers"] = f["layers"].([]any)[:2] }), "its last layer has 3 outputs, expected 1"},
		"no bias":   {edit(func(f map[string]any) { layer(f, 0)["bias"] = []any{} }), "layer 1: 0 outputs, expected 1 to 64"},
		"rows":      {edit(func(f map[string]any) { layer(f, 1)["weights"] = rows(f, 1)[1:] }), "layer 2: 2 rows of weights, expected 3"},
		"columns":   {edit(func(f map[string]any) { rows(f, 0)[3] = rows(f, 0)[3].([]any)[1:] }), fmt.Sprintf("row 4 has %d weights, expected %d", flush.NumFeatures-1, flush.NumFeatures)},
		"wide": {edit(func(f map[string]any) {
			layer(f, 0)["bias"] = slices.Repeat([]any{0}, 65)
		}), "65 outputs, expected 1 to 64"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := flush.Load(strings.NewReader(c.text))
			if n != nil || !errors.Is(err, flush.ErrPolicy) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v; expected an ErrPolicy with %q", n, err, c.want)
			}
		})
	}
}

// TestNotANumber: weights that only a program can make are refused as well.
func TestNotANumber(t *testing.T) {
	for _, broken := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		all := layers(rand.New(rand.NewPCG(1, 2)), 4)
		all[0].Weights[2][1] = float32(broken)
		if n, err := flush.NewNetwork(all, flush.Training{}); n != nil || !errors.Is(err, flush.ErrPolicy) {
			t.Errorf("%g: %v", broken, err)
		}
	}
}

// TestPPO: it serves if its logit is above 0, and otherwise asks again, in time for the hold to be kept.
func TestPPO(t *testing.T) {
	n := network(t, 16, 16)
	rapid.Check(t, func(t *rapid.T) {
		s := anyState(t)
		s.Hold = time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "hold"))
		cost := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "cost"))
		var x [flush.NumFeatures]float32
		flush.Features(&s, cost, &x)
		d := flush.PPO{Net: n, CallCost: cost}.Decide(s)
		want := coalesce.Decision{Serve: true}
		if n.Logit(&x) <= 0 {
			want = coalesce.Decision{After: flush.Recheck(&s, cost)}
		}
		if d != want || !d.Serve && d.After <= 0 {
			t.Fatalf("%+v, want %+v", d, want)
		}
	})
}

// TestFallsBack: without a network, or if it says what is no number, balance decides, and that is told.
func TestFallsBack(t *testing.T) {
	for _, p := range []flush.PPO{{CallCost: 25 * ms}, {Net: &flush.Network{}, CallCost: 25 * ms}} {
		for _, s := range []coalesce.State{
			{Size: 1, Arrival: true, SinceArrival: coalesce.Never, Hold: 50 * ms}, {Size: 5, Waiting: 5 * ms, Hold: 50 * ms}, {Size: 3, Waiting: 25 * ms, Hold: 50 * ms},
		} {
			want := flush.Balance{CallCost: p.CallCost}.Decide(s)
			want.Fallback = true
			if got := p.Decide(s); got != want {
				t.Errorf("%+v: got %+v, want %+v", s, got, want)
			}
		}
	}
	if got, want := (flush.PPO{Net: network(t, 4)}).Decide(coalesce.State{Size: 1}), (coalesce.Decision{Serve: true}); got != want {
		t.Errorf("without a call cost: %+v, want %+v", got, want)
	}
}

// TestNoAllocation: a decision allocates nothing.
func TestNoAllocation(t *testing.T) {
	p := flush.PPO{Net: flush.Default(), CallCost: 25 * ms}
	s := coalesce.State{Size: 3, Arrival: true, SinceArrival: ms, Rates: dense(1000), Waiting: ms, LatencyP50: 20 * ms, Hold: 50 * ms}
	if n := testing.AllocsPerRun(100, func() { p.Decide(s) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// BenchmarkPPO measures a decision, features and all, and tells the time that 99 of 100 stay below.
func BenchmarkPPO(b *testing.B) {
	p := flush.PPO{Net: flush.Default(), CallCost: 25 * ms}
	s := coalesce.State{Size: 3, Arrival: true, SinceArrival: ms, Rates: dense(1000), Waiting: ms, LatencyP50: 20 * ms, Hold: 50 * ms, MaxBatch: 128}
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		p.Decide(s)
		if len(took) < cap(took) {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}
