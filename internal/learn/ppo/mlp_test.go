package ppo

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestGradients compares each derivative with a difference quotient, in a network whose bends are in all their parts.
func TestGradients(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	m := newMLP(7, 5, random)
	for i := range m.params {
		m.params[i] = float32(random.NormFloat64())
	}
	tr, x := newTrace(5), make([]float32, 7)
	for round := range 20 {
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		gradient := make([]float32, m.size())
		m.forward(x, tr)
		m.backward(x, tr, 0.7, gradient)
		for i, g := range gradient {
			if want := 0.7 * quotient(m, i, x, tr); math.Abs(float64(g)-want) > 1e-3*(1+math.Abs(want)) {
				t.Fatalf("round %d: the derivative by parameter %d is %g, the quotient %g", round, i, g, want)
			}
		}
	}
}

// quotient is that of the output by a parameter, in float64 arithmetic of the same network.
func quotient(m *mlp, i int, x []float32, tr *trace) float64 {
	const h = 1.0 / 512
	was := m.params[i]
	m.params[i] = was + h
	up := float64(m.forward(x, tr))
	m.params[i] = was - h
	down := float64(m.forward(x, tr))
	m.params[i] = was
	return (up - down) / (2 * h)
}

func BenchmarkStep(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, hidden := range []int{32, 64} {
		m := newMLP(20, hidden, random)
		tr, x, gradient := newTrace(hidden), make([]float32, 20), make([]float32, m.size())
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		b.Run("forward", func(b *testing.B) {
			for b.Loop() {
				m.forward(x, tr)
			}
		})
		b.Run("both", func(b *testing.B) {
			for b.Loop() {
				m.backward(x, tr, m.forward(x, tr), gradient)
				clear(gradient)
			}
		})
	}
}
