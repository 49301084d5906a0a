package lockmem

import "container/heap"

// ends orders the locks that expire, the earliest first. It implements
// [heap.Interface] and tells each lock its place.
type ends []*lock

var _ heap.Interface = (*ends)(nil)

func (s ends) Len() int           { return len(s) }
func (s ends) Less(i, j int) bool { return s[i].until.Before(s[j].until) }

func (s ends) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].end, s[j].end = i, j
}

// Push implements [heap.Interface].
func (s *ends) Push(x any) {
	l, ok := x.(*lock)
	if !ok {
		return
	}
	l.end = len(*s)
	*s = append(*s, l)
}

// Pop implements [heap.Interface].
func (s *ends) Pop() any {
	last := len(*s) - 1
	l := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	l.end = never
	return l
}
