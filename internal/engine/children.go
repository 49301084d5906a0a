package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// startChild begins the execution that a node has called, unless it is there. What is
// asked for that ends with the engine's lease: others may have been through with the
// child since, and have let it go, and it would be begun once more.
func (r *Run) startChild(e store.Errand) error {
	p := r.e.cfg.Plans[e.Target.Workflow]
	if p == nil || p.Fingerprint != e.Fingerprint {
		return fmt.Errorf("workflow: this engine does not run workflow %q as it was when its caller was defined", e.Target.Workflow)
	}
	_, err := r.e.Begin(r.e.base, Order{
		Plan: p, ID: e.Target.ID, Input: e.Input,
		Parent: &store.Parent{Key: r.key, RunUID: r.s.RunUID, Place: e.Place},
	})
	return err
}

// forgetChild lets a child go whose parent has ended, and its own children.
func (e *Engine) forgetChild(ctx context.Context, key store.Key) error {
	x, err := e.cfg.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !x.State.Finished() || x.Unsettled {
		return store.ErrUnsettled // it may want something of its children still
	}
	p := e.cfg.Plans[key.Workflow]
	for _, c := range x.Cells {
		kind, at, _ := c.ID.Split()
		if kind != store.NodeKind || p == nil || at.Node >= len(p.Nodes) || p.Nodes[at.Node].Kind != plan.CallNode {
			continue
		}
		n, err := store.DecodeNode(c.Data)
		if err != nil {
			return err
		}
		if n.Child != "" {
			if err := e.forgetChild(ctx, store.Key{Workflow: p.Nodes[at.Node].Call.Workflow, ID: n.Child}); err != nil {
				return err
			}
		}
	}
	return e.cfg.Store.Forget(ctx, key, x.RunUID)
}
