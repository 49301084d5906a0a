package main

import "sync"

// printer prints each label once, however often it is asked.
type printer struct {
	mu        sync.Mutex
	labels    map[string]string
	now, most int
}

func (p *printer) print(key, order string) string {
	p.begin()
	defer p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.labels == nil {
		p.labels = make(map[string]string)
	}
	if _, done := p.labels[key]; !done {
		p.labels[key] = "label of " + order
	}
	return p.labels[key]
}

func (p *printer) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now++
	p.most = max(p.most, p.now)
}

func (p *printer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now--
}

func (p *printer) printed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.labels)
}

func (p *printer) mostAtOnce() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}
