package flush

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// ErrPolicy means that a policy file can't be used.
var ErrPolicy = errors.New("flush: unusable policy file")

// The bounds of a [Network], and so of what a decision may cost.
const (
	maxWidth  = 64
	maxLayers = 4
	// maxWeight bounds the weights, so that no sum of finite inputs overflows.
	maxWeight = 1e4
	// maxFile bounds a policy file.
	maxFile = 1 << 20
)

// format is what a policy file calls itself, and version its version, which goes up when [Features] changes.
const (
	format  = "sluice flush policy"
	version = 1
)

// A Network is a learned policy: a small neural network, fully connected, from the [Features] of a state to one number, which is above 0 if
// the slot is to be served. Its hidden layers go through [Bend]. It doesn't change, and is safe for concurrent use; make one with [Load] or
// [NewNetwork].
type Network struct {
	layers   []layer
	training Training
}

type layer struct {
	inputs, outputs int
	weights         []float32 // of the first output for all inputs, then of the second, …
	bias            []float32
}

// Training says how a policy was made.
type Training struct {
	Command string `json:"command"`
	Seed    uint64 `json:"seed"`
	Steps   int    `json:"steps"`
	// Figures are what it reached, on the traffic that the command names.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// A Layer is one of a Network's: Weights has a row for each output, and in it a column for each input.
type Layer struct {
	Weights [][]float32 `json:"weights"`
	Bias    []float32   `json:"bias"`
}

// file is a policy file.
type file struct {
	Format   string   `json:"format"`
	Version  int      `json:"version"`
	Training Training `json:"training"`
	Layers   []Layer  `json:"layers"`
}

// Load reads a policy file. The error is an [ErrPolicy] if it is none of this version, has shapes that don't fit, or weights that are
// no numbers or out of range.
func Load(r io.Reader) (*Network, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading a policy: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrPolicy, maxFile)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var f file
	if err := decoder.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if decoder.More() {
		return nil, fmt.Errorf("%w: something follows it", ErrPolicy)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return NewNetwork(f.Layers, f.Training)
}

func (f *file) check() error {
	switch {
	case f.Format != format:
		return fmt.Errorf("%w: its format is %q, expected %q", ErrPolicy, f.Format, format)
	case f.Version != version:
		return fmt.Errorf("%w: its version is %d, expected %d", ErrPolicy, f.Version, version)
	}
	return nil
}

// NewNetwork returns a network of those layers, which are copied. The first must have [NumFeatures] inputs, the last one output, and those
// between at most 64; there may be 4 at most. The error is an [ErrPolicy].
func NewNetwork(layers []Layer, training Training) (*Network, error) {
	if len(layers) == 0 || len(layers) > maxLayers {
		return nil, fmt.Errorf("%w: it has %d layers, expected 1 to %d", ErrPolicy, len(layers), maxLayers)
	}
	n := &Network{training: training}
	inputs := NumFeatures
	for i, l := range layers {
		outputs := len(l.Bias)
		if i == len(layers)-1 && outputs != 1 {
			return nil, fmt.Errorf("%w: its last layer has %d outputs, expected 1", ErrPolicy, outputs)
		}
		flat, err := l.flat(inputs)
		if err != nil {
			return nil, fmt.Errorf("%w: layer %d: %w", ErrPolicy, i+1, err)
		}
		n.layers = append(n.layers, layer{inputs: inputs, outputs: outputs, weights: flat, bias: slices.Clone(l.Bias)})
		inputs = outputs
	}
	return n, nil
}

// flat returns the weights row by row, if the layer is sound.
func (l *Layer) flat(inputs int) (weights []float32, err error) {
	if len(l.Bias) == 0 || len(l.Bias) > maxWidth {
		return nil, fmt.Errorf("%d outputs, expected 1 to %d", len(l.Bias), maxWidth)
	}
	if len(l.Weights) != len(l.Bias) {
		return nil, fmt.Errorf("%d rows of weights, expected %d as there are biases", len(l.Weights), len(l.Bias))
	}
	for i, row := range l.Weights {
		if len(row) != inputs {
			return nil, fmt.Errorf("row %d has %d weights, expected %d", i+1, len(row), inputs)
		}
		weights = append(weights, row...)
	}
	for _, w := range slices.Concat(weights, l.Bias) {
		if !(math.Abs(float64(w)) <= maxWeight) {
			return nil, fmt.Errorf("a weight is %g, expected −%g to %g", w, maxWeight, maxWeight)
		}
	}
	return weights, nil
}

// Training returns how the policy was made.
func (n *Network) Training() Training { return n.training }

// WithTraining returns the same network, made as t says.
func (n *Network) WithTraining(t Training) *Network { return &Network{layers: n.layers, training: t} }

// Write writes the policy file that [Load] reads.
func (n *Network) Write(w io.Writer) error {
	f := file{Format: format, Version: version, Training: n.training}
	for _, l := range n.layers {
		out := Layer{Bias: l.bias}
		for rows := l.weights; len(rows) > 0; rows = rows[l.inputs:] {
			out.Weights = append(out.Weights, rows[:l.inputs])
		}
		f.Layers = append(f.Layers, out)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("writing a policy: %w", err)
	}
	// A line for each part and each row keeps a diff readable.
	text = bytes.ReplaceAll(text, []byte("],["), []byte("],\n["))
	text = bytes.ReplaceAll(text, []byte(`,"`), []byte(",\n\""))
	_, err = w.Write(append(text, '\n'))
	return err
}

// Logit returns the network's output: the logarithm of the odds for serving, if it is asked for a chance. It is NaN if a feature is,
// and from a zero Network.
func (n *Network) Logit(x *[NumFeatures]float32) float32 {
	if len(n.layers) == 0 {
		return float32(math.NaN())
	}
	var a, b [maxWidth]float32
	in, out := &a, &b
	copy(in[:], x[:])
	last := len(n.layers) - 1
	for i := range n.layers {
		n.layers[i].forward(in, out)
		if i < last {
			for j := range out[:n.layers[i].outputs] {
				out[j] = Bend(out[j])
			}
		}
		in, out = out, in
	}
	return in[0]
}

// forward multiplies. Four sums at a time, since one by one each addition would wait for the one before.
func (l *layer) forward(in, out *[maxWidth]float32) {
	x := in[:l.inputs]
	rows := l.weights
	for j, sum := range l.bias {
		row := rows[:len(x)]
		rows = rows[len(x):]
		out[j] = sum + Dot(row, x)
	}
}

// Dot returns the scalar product of two vectors of the same length. Trainer and policy both use it, so that they agree in every bit.
func Dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i := range min(len(a), len(b)) {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// Bend is what hidden layers go through: x(27+x²)/(27+9x²) up to ±3 and ±1 beyond, which is close to the hyperbolic tangent, smooth, and takes
// a tenth of its time.
func Bend(x float32) float32 {
	switch {
	case x >= 3:
		return 1
	case x <= -3:
		return -1
	}
	xx := x * x
	return x * (27 + xx) / (27 + 9*xx)
}
