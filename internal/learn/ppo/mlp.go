package ppo

import (
	"math"
	"math/rand/v2"

	"github.com/sluicegate/sluice/flush"
)

// mlp is a network in training: two hidden layers through [flush.Bend], and one output. Its parameters lie in one slice, and so do its
// gradients, which makes the optimizer, the clipping and checkpoints loops over a slice.
//
// Its arithmetic is that of flush.Network, addition for addition, so that a network decides in training as it will when it is shipped.
type mlp struct {
	inputs, hidden int
	params         []float32
}

// newMLP returns a network with random weights whose sums have variance 1 if the inputs have, and a last layer that is nearly 0.
func newMLP(inputs, hidden int, random *rand.Rand) *mlp {
	m := &mlp{inputs: inputs, hidden: hidden}
	m.params = make([]float32, m.size())
	for i, l := range m.layers(m.params) {
		scale := 1 / math.Sqrt(float64(l.inputs))
		if i == 2 {
			scale *= 0.01
		}
		for j := range l.weights {
			l.weights[j] = float32(random.NormFloat64() * scale)
		}
	}
	return m
}

// size is the number of parameters.
func (m *mlp) size() int {
	return m.hidden*(m.inputs+1) + m.hidden*(m.hidden+1) + m.hidden + 1
}

// part is a layer of the network, or of its gradient.
type part struct {
	inputs  int
	weights []float32 // a row for each output
	bias    []float32
}

// layers returns the three layers of parameters or gradients.
func (m *mlp) layers(params []float32) (l [3]part) {
	for i, shape := range [3][2]int{{m.inputs, m.hidden}, {m.hidden, m.hidden}, {m.hidden, 1}} {
		weights := shape[0] * shape[1]
		l[i] = part{inputs: shape[0], weights: params[:weights], bias: params[weights:][:shape[1]]}
		params = params[weights+shape[1]:]
	}
	return l
}

// trace is what a forward pass leaves for the backward pass: what went into the bends of both hidden layers, and what came out. A trace belongs to
// one goroutine.
type trace struct {
	sums, out  [2][]float32
	back, down []float32 // the gradients of a hidden layer's sums, and of the outputs of the one below
}

func newTrace(hidden int) *trace {
	t := &trace{back: make([]float32, hidden), down: make([]float32, hidden)}
	for i := range t.sums {
		t.sums[i], t.out[i] = make([]float32, hidden), make([]float32, hidden)
	}
	return t
}

// forward returns the output.
func (m *mlp) forward(x []float32, t *trace) float32 {
	l := m.layers(m.params)
	for i := range t.sums {
		rows := l[i].weights
		for j, bias := range l[i].bias {
			sum := bias + flush.Dot(rows[:len(x)], x)
			rows = rows[len(x):]
			t.sums[i][j], t.out[i][j] = sum, flush.Bend(sum)
		}
		x = t.out[i]
	}
	return l[2].bias[0] + flush.Dot(l[2].weights, x)
}

// backward adds to the gradient that of a loss whose derivative by the output is d, for the input of the forward pass that left the trace.
func (m *mlp) backward(x []float32, t *trace, d float32, gradient []float32) {
	l, g := m.layers(m.params), m.layers(gradient)
	g[2].bias[0] += d
	addTo(g[2].weights, d, t.out[1])
	for j, w := range l[2].weights {
		t.back[j] = d * w * slope(t.sums[1][j])
	}
	clear(t.down)
	for j, d := range t.back {
		row := j * m.hidden
		g[1].bias[j] += d
		addTo(g[1].weights[row:row+m.hidden], d, t.out[0])
		addTo(t.down, d, l[1].weights[row:row+m.hidden])
	}
	for j, d := range t.down {
		d *= slope(t.sums[0][j])
		row := j * m.inputs
		g[0].bias[j] += d
		addTo(g[0].weights[row:row+m.inputs], d, x)
	}
}

// slope is the derivative of [flush.Bend].
func slope(x float32) float32 {
	if x >= 3 || x <= -3 {
		return 0
	}
	xx := x * x
	root := (9 - xx) / (9 + 3*xx)
	return root * root
}

// addTo adds the vector, times a, to another of the same length.
func addTo(to []float32, a float32, v []float32) {
	v = v[:len(to)]
	for len(to) >= 4 && len(v) >= 4 {
		to[0] += a * v[0]
		to[1] += a * v[1]
		to[2] += a * v[2]
		to[3] += a * v[3]
		to, v = to[4:], v[4:]
	}
	for i := range to {
		to[i] += a * v[i]
	}
}
