package market

const pageSize = 1024

// paged is a slice that grows a page at a time, so that no command waits for a large slice to be copied. The zero value is empty.
type paged[T any] struct {
	pages []*[pageSize]T
	n     int
}

func (p *paged[T]) len() int { return p.n }

// at returns element i, which must be there. It stays where it is.
func (p *paged[T]) at(i uint32) *T { return &p.pages[i/pageSize][i%pageSize] }

// grow appends a zero element and returns it.
func (p *paged[T]) grow() *T {
	if p.n == len(p.pages)*pageSize {
		p.pages = append(p.pages, new([pageSize]T))
	}
	p.n++
	v := p.at(uint32(p.n - 1))
	*v = *new(T)
	return v
}

// cut keeps the first n elements and the memory of their pages.
func (p *paged[T]) cut(n int) {
	keep := (n + pageSize - 1) / pageSize
	clear(p.pages[keep:])
	p.pages, p.n = p.pages[:keep], n
}
