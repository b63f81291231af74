package ppo

import "math"

// adam is the optimizer of Kingma and Ba ("Adam: a method for stochastic optimization", 2015), with the norm of the gradient clipped.
type adam struct {
	Mean, Square []float32
	Steps        int
}

func newAdam(size int) *adam {
	return &adam{Mean: make([]float32, size), Square: make([]float32, size)}
}

const (
	keepMean   = 0.9
	keepSquare = 0.999
	tiny       = 1e-8
)

// step moves the parameters against the gradient.
func (a *adam) step(params, gradient []float32, rate, clip float64) {
	a.Steps++
	scale := float32(min(1, clip/(norm(gradient)+tiny)))
	mean := float32(1 - math.Pow(keepMean, float64(a.Steps)))
	square := float32(1 - math.Pow(keepSquare, float64(a.Steps)))
	for i, g := range gradient {
		g *= scale
		a.Mean[i] += (1 - keepMean) * (g - a.Mean[i])
		a.Square[i] += (1 - keepSquare) * (g*g - a.Square[i])
		params[i] -= float32(rate) * (a.Mean[i] / mean) / (float32(math.Sqrt(float64(a.Square[i]/square))) + tiny)
	}
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}
