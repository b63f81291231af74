package ppo

import (
	"math"
)

// normal shifts and scales the inputs to mean 0 and variance 1.
type normal struct {
	Mean, Scale [criticInputs]float32
}

func (n *normal) apply(x []float32) {
	for i := range x {
		x[i] = (x[i] - n.Mean[i]) * n.Scale[i]
	}
}

// fold changes a row of weights and its bias from inputs that were scaled to inputs that were not.
func (n *normal) fold(row []float32, bias float32) float32 {
	shifted := float64(bias)
	for i := range row {
		row[i] *= n.Scale[i]
		shifted -= float64(row[i]) * float64(n.Mean[i])
	}
	return float32(shifted)
}

// leastDeviation keeps an input that hardly ever changes from being blown up.
const leastDeviation = 0.05

// measure has balance play, to learn the mean and the variance of the inputs.
func (t *trainer) measure() normal {
	const episodes, decisions = 150, 200
	var sums, squares [criticInputs]float64
	count := 0.0
	e := &env{random: t.random(3, 0)}
	for range episodes {
		t.restart(e)
		for ended := false; !ended && e.decisions < decisions; {
			var x [criticInputs]float32
			e.look(&x)
			for i, v := range x {
				sums[i] += float64(v)
				squares[i] += float64(v) * float64(v)
			}
			count++
			ended = e.advance(e.state.Waiting >= e.cfg.CallCost)
		}
	}
	var n normal
	for i := range sums {
		mean := sums[i] / count
		n.Mean[i] = float32(mean)
		n.Scale[i] = float32(1 / max(leastDeviation, math.Sqrt(max(0, squares[i]/count-mean*mean))))
	}
	return n
}
