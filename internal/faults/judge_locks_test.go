package faults

// reign is when an execution works under a key: from its first body on, forward or undoing,
// to the last one.
type reign struct {
	root        string
	first, last int
}

// locks judges the locks: no two executions run bodies under one key at once, none works
// under it while another is in the midst of its guard, and tokens rise.
func (j *judge) locks() {
	for _, key := range shelves {
		j.tokens(key)
		j.bodies(key)
		j.reigns(key)
	}
}

// tokens wants none to fall, and none to be of two executions.
func (j *judge) tokens(key string) {
	var newest uint64
	owner := map[uint64]string{}
	for _, n := range j.notes {
		token, ok := n.Tokens[key]
		if !ok {
			continue
		}
		if token < newest {
			j.Errorf("%s: %q runs under %s with the token %d, when %d was there (I7)", n.Root, n.Step, key, token, newest)
		}
		newest = max(newest, token)
		if other := owner[token]; other != "" && other != n.Root {
			j.Errorf("%s and %s have one token of %s, %d (I7)", other, n.Root, key, token)
		}
		owner[token] = n.Root
	}
}

// bodies wants no two bodies of different executions to run at once.
func (j *judge) bodies(key string) {
	running := map[string]note{} // by nonce
	process := 0
	for _, n := range j.notes {
		if n.Process != process { // the one before is dead, and its bodies with it
			process = n.Process
			clear(running)
		}
		if n.What == returns {
			delete(running, n.Nonce)
		}
		if _, ok := n.Tokens[key]; !ok || n.What != begins {
			continue
		}
		for _, other := range running {
			if other.Root != n.Root {
				j.Errorf("%s: %q begins under %s while %q of %s runs (I7)", n.Root, n.Step, key, other.Step, other.Root)
			}
		}
		running[n.Nonce] = n
	}
}

// reigns wants nobody to come in between two bodies of one guard, be they steps or
// compensations: its locks are kept over the death of its process.
func (j *judge) reigns(key string) {
	type phase struct {
		root string
		undo bool
	}
	reigns := map[phase]*reign{}
	var list []*reign
	for i, n := range j.notes {
		if _, ok := n.Tokens[key]; !ok || n.What != begins {
			continue
		}
		p := phase{n.Root, n.Undo}
		if reigns[p] == nil {
			reigns[p] = &reign{root: n.Root, first: i}
			list = append(list, reigns[p])
		}
		reigns[p].last = i
	}
	longest := &reign{last: -1}
	for _, next := range list { // in the order in which they begin
		if next.root != longest.root && next.first < longest.last {
			j.Errorf("%s and %s work under %s in turns (I7): at notes %d to %d, and %d to %d",
				longest.root, next.root, key, longest.first, longest.last, next.first, next.last)
		}
		if next.last > longest.last {
			longest = next
		}
	}
}
