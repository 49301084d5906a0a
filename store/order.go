package store

import "time"

// Order is what a [Task] of a step says: the attempt that is to be made.
type Order struct {
	// Place is the step's, Path its path for people, and Key what tells it with its items
	// from every other of the execution.
	Place     Place
	Path, Key string
	Items     []int
	// Compensate says that the body is that of the compensation.
	Compensate bool
	// Number counts the attempts of the phase, Ordinal those of both.
	Number  int
	Ordinal uint64
	// Epoch is that under which the attempt was enabled.
	Epoch uint64
	// Input is that of the body.
	Input []byte
	// Outcome is how the invoke has ended, for a compensation.
	Outcome string
	// Suspect says that an attempt before may have killed its process.
	Suspect bool
}

// TaskResult is what an attempt that was made from a queue came to, beside its output and
// its failure, which an [Event] has.
type TaskResult struct {
	// Run is the execution's RunUID: its key may be that of another one by now.
	Run        string
	Compensate bool
	Ordinal    uint64
	Undo       []byte
	Failed     bool
	Skipped    bool
	// Pauses says that the body has asked for a pause before the next attempt, RetryAfter
	// for how long.
	Pauses     bool
	RetryAfter time.Duration
	// Unknown says that the body may still be running, TimedOut that it took too long.
	Unknown, TimedOut bool
	// Died says that the attempt was not made: whoever made it before may have died of it.
	Died bool
}

// Encode appends the record to b.
func (o *Order) Encode(b []byte) []byte {
	b = putNested(b, 1, o.Place.append)
	b = putString(b, 2, o.Path)
	b = putString(b, 3, o.Key)
	for _, i := range o.Items {
		b = putUint(b, 4, uint64(i)+1) // zero is not written
	}
	b = putBool(b, 5, o.Compensate)
	b = putUint(b, 6, uint64(o.Number))
	b = putUint(b, 7, o.Ordinal)
	b = putUint(b, 8, o.Epoch)
	b = putBytes(b, 9, o.Input)
	b = putString(b, 10, o.Outcome)
	return putBool(b, 11, o.Suspect)
}

// DecodeOrder is the reverse of [Order.Encode]. It returns [*RecordError]. The record
// shares memory with the data.
func DecodeOrder(data []byte) (o Order, err error) {
	r := reader{record: "order", data: data}
	for r.next() {
		switch r.field {
		case 1:
			o.Place, err = readPlace(r.nested("place"))
			r.take(err)
		case 2:
			o.Path = r.string()
		case 3:
			o.Key = r.string()
		case 4:
			o.Items = append(o.Items, r.index())
		case 5:
			o.Compensate = r.bool()
		case 6:
			o.Number = r.count()
		case 7:
			o.Ordinal = r.uint()
		case 8:
			o.Epoch = r.uint()
		case 9:
			o.Input = r.blob()
		case 10:
			o.Outcome = r.string()
		case 11:
			o.Suspect = r.bool()
		default:
			r.unknown()
		}
	}
	return o, r.err
}

func (t *TaskResult) none() bool {
	return t.Run == "" && !t.Compensate && t.Ordinal == 0 && t.Undo == nil && !t.Failed && !t.Skipped && !t.Pauses && t.RetryAfter == 0 && !t.Unknown && !t.TimedOut && !t.Died
}

func (t *TaskResult) append(b []byte) []byte {
	b = putBool(b, 1, t.Compensate)
	b = putUint(b, 2, t.Ordinal)
	b = putBytes(b, 3, t.Undo)
	b = putBool(b, 4, t.Failed)
	b = putBool(b, 5, t.Skipped)
	b = putBool(b, 6, t.Pauses)
	b = putUint(b, 7, uint64(max(t.RetryAfter, 0)))
	b = putBool(b, 8, t.Unknown)
	b = putBool(b, 9, t.TimedOut)
	b = putBool(b, 10, t.Died)
	return putString(b, 11, t.Run)
}

func readTaskResult(r *reader) (t TaskResult, err error) {
	for r.next() {
		switch r.field {
		case 1:
			t.Compensate = r.bool()
		case 2:
			t.Ordinal = r.uint()
		case 3:
			t.Undo = r.blob()
		case 4:
			t.Failed = r.bool()
		case 5:
			t.Skipped = r.bool()
		case 6:
			t.Pauses = r.bool()
		case 7:
			t.RetryAfter = time.Duration(r.upTo(1<<63 - 1))
		case 8:
			t.Unknown = r.bool()
		case 9:
			t.TimedOut = r.bool()
		case 10:
			t.Died = r.bool()
		case 11:
			t.Run = r.string()
		default:
			r.unknown()
		}
	}
	return t, r.err
}
