package learn

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
)

// An svg is a drawing in the making. Lengths are pixels, from the top left.
type svg struct {
	width, height float64
	body          bytes.Buffer
}

// writeTo writes the drawing, on white: it is also looked at on dark pages.
func (s *svg) writeTo(w io.Writer) error {
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "+
		"font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n",
		s.width, s.height, s.width, s.height, s.body.Bytes())
	return err
}

func (s *svg) text(x, y float64, anchor, text string) {
	fmt.Fprintf(&s.body, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor)
	xml.EscapeText(&s.body, []byte(text)) // a buffer takes everything
	s.body.WriteString("</text>\n")
}

func (s *svg) line(x1, y1, x2, y2 float64, color string) {
	fmt.Fprintf(&s.body, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, color)
}

func (s *svg) rect(x, y, width, height float64, color string) {
	fmt.Fprintf(&s.body, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, width, height, color)
}

func (s *svg) dot(x, y float64, color string) {
	fmt.Fprintf(&s.body, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, color)
}

func (s *svg) path(points [][2]float64, color string) {
	s.body.WriteString("<polyline fill=\"none\" stroke-width=\"1.5\" stroke=\"" + color + "\" points=\"")
	for _, p := range points {
		fmt.Fprintf(&s.body, "%.1f,%.1f ", p[0], p[1])
	}
	s.body.WriteString("\"/>\n")
}

// A frame is a rectangle of the drawing with axes.
type frame struct {
	*svg
	left, top, width, height float64
	x, y                     axis
}

// An axis maps values to the way along it, from 0 to 1. What lies outside is put at its end.
type axis struct {
	least, most float64
	log         bool
	ticks       []float64
	name        string
}

func (a axis) along(v float64) float64 {
	least, most := a.least, a.most
	if a.log {
		v, least, most = math.Log(v), math.Log(least), math.Log(most)
	}
	return max(0, min(1, (v-least)/(most-least)))
}

// at returns where in the drawing the values are.
func (f *frame) at(x, y float64) (px, py float64) {
	return f.left + f.x.along(x)*f.width, f.top + (1-f.y.along(y))*f.height
}

// draw draws the axes.
func (f *frame) draw(title string) {
	f.text(f.left, f.top-8, "start", title)
	for _, v := range f.x.ticks {
		px, _ := f.at(v, f.y.least)
		f.line(px, f.top, px, f.top+f.height, "#e4e4e4")
		f.text(px, f.top+f.height+14, "middle", fmt.Sprintf("%g", v))
	}
	for _, v := range f.y.ticks {
		_, py := f.at(f.x.least, v)
		f.line(f.left, py, f.left+f.width, py, "#e4e4e4")
		f.text(f.left-5, py+4, "end", fmt.Sprintf("%g", v))
	}
	f.line(f.left, f.top+f.height, f.left+f.width, f.top+f.height, "black")
	f.line(f.left, f.top, f.left, f.top+f.height, "black")
	f.text(f.left+f.width/2, f.top+f.height+30, "middle", f.x.name)
	if f.y.name != "" {
		fmt.Fprintf(&f.body, "<g transform=\"translate(%.1f %.1f) rotate(-90)\">", f.left-34, f.top+f.height/2)
		f.text(0, 0, "middle", f.y.name)
		f.body.WriteString("</g>\n")
	}
}

// curve draws a line with dots through the values.
func (f *frame) curve(values [][2]float64, color string) {
	points := make([][2]float64, len(values))
	for i, v := range values {
		points[i][0], points[i][1] = f.at(v[0], v[1])
		f.dot(points[i][0], points[i][1], color)
	}
	f.path(points, color)
}

// legend names the colors, in a row.
func (s *svg) legend(x, y float64, names []string) {
	for _, name := range names {
		s.dot(x, y-4, colorOf(name))
		s.text(x+7, y, "start", name)
		x += 22 + 6.2*float64(len(name))
	}
}

// colorOf is the color of a policy in all drawings.
func colorOf(policy string) string {
	switch policy {
	case "immediate":
		return "#999999"
	case "timer":
		return "#d62728"
	case "size":
		return "#e6a817"
	case "balance":
		return "#1f77b4"
	case "threshold":
		return "#17a2a2"
	case HindsightName:
		return "#9467bd"
	case ClairvoyantName:
		return "#000000"
	}
	return "#2ca02c"
}
