//! The pickles of a TorchScript file, `data.pkl` and `constants.pkl`, before libtorch reads them.
//!
//! A pickle says which record holds the memory of a tensor, how much of it there is, and where
//! in it the tensor lies. libtorch believes all of that, and reads some tensors at once (the
//! scales of a quantised one, the indices of a sparse one). So this follows the pickle's
//! instructions, without making anything, and compares what it says with the records. It
//! accepts only what `torch.jit.save` writes.

use std::collections::HashMap;
use std::rc::Rc;

/// Tuples hold numbers and tensors, a few deep. More of them would take the stack.
const DEEPEST: usize = 32;

/// What is known of a value.
#[derive(Clone)]
enum Value<'a> {
    Int(i64),
    Text(&'a [u8]),
    /// A function, class or constant of Python: its module and name.
    Global(&'a [u8], &'a [u8]),
    Tuple(Rc<Vec<Value<'a>>>, usize),
    /// Memory of so many elements.
    Storage(Element, i64),
    /// A tensor within its memory, and its size along each axis; `None` if it is not known.
    Tensor(Option<Rc<Vec<i64>>>),
    Other,
}

/// What a storage holds.
#[derive(Clone, Copy)]
struct Element {
    bytes: i64,
    /// Elements of a tensor in one of the storage: more than one of less than 8 bits.
    packed: i64,
}

/// Follows a pickle's instructions and checks that each tensor lies within its record.
/// `size_of` says how many bytes a record has, e.g. of "0".
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check(pickle: &[u8], size_of: impl Fn(&str) -> Option<usize>) -> Result<(), String> {
    Machine { rest: pickle, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
        .run(&size_of)
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    /// How high the stack was.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
}

type Checked<T> = Result<T, String>;

impl<'a> Machine<'a> {
    /// The instructions are those of Python's `pickletools`.
    fn run(mut self, size_of: &impl Fn(&str) -> Option<usize>) -> Checked<()> {
        loop {
            match self.number(1)? as u8 {
                0x80 => drop(self.number(1)?), // PROTO
                b'.' => return Ok(()),         // STOP
                b'(' => self.marks.push(self.stack.len()),
                b'N' | 0x88 | 0x89 | b']' | b'}' => self.stack.push(Value::Other),
                b'K' => self.push_number(1)?,
                b'M' => self.push_number(2)?,
                b'J' => {
                    let number = self.number(4)? as u32 as i32;
                    self.stack.push(Value::Int(number.into()));
                }
                0x8a => match self.number(1)? {
                    8 => self.push_number(8)?,
                    length => return Err(format!("has a number of {length} bytes")),
                },
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Other);
                }
                b'X' => {
                    let length = self.number(4)? as usize;
                    let text = self.take(length)?;
                    self.stack.push(Value::Text(text));
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(Value::Global(module, name));
                }
                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b')' => self.tuple(0)?,
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let count = self.above_mark()?;
                    self.tuple(count)?;
                }
                // To a list or dict below.
                b'a' => drop(self.pop(1)?),
                b's' => drop(self.pop(2)?),
                b'e' | b'u' => {
                    let count = self.above_mark()?;
                    self.pop(count)?;
                }
                0x81 => drop(self.pop(1)?), // NEWOBJ: BUILD makes the object
                b'b' | b'R' => self.call()?,
                b'Q' => self.storage(size_of)?,
                other => return Err(format!("has the unknown instruction {other:#04x}")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Checked<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next 1 to 8 bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Checked<i64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | i64::from(*byte)))
    }

    fn push_number(&mut self, bytes: usize) -> Checked<()> {
        let number = self.number(bytes)?;
        self.stack.push(Value::Int(number));
        Ok(())
    }

    fn line(&mut self) -> Checked<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or("is cut off")?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
    }

    /// Takes values off the stack, none from below the last mark.
    fn pop(&mut self, count: usize) -> Checked<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= floor);
        Ok(self.stack.split_off(start.ok_or("takes what is not there")?))
    }

    /// Removes the last mark, and says how many values are above it.
    fn above_mark(&mut self) -> Checked<usize> {
        let mark = self.marks.pop().ok_or("has no mark where one is needed")?;
        Ok(self.stack.len() - mark)
    }

    fn remember(&mut self, bytes: usize) -> Checked<()> {
        let place = self.number(bytes)? as u32;
        let value = self.stack.last().ok_or("takes what is not there")?;
        self.memo.insert(place, value.clone());
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Checked<()> {
        let place = self.number(bytes)? as u32;
        let value = self.memo.get(&place).ok_or("takes what is not there")?;
        self.stack.push(value.clone());
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Checked<()> {
        let values = self.pop(count)?;
        let deepest = values.iter().map(|value| match value {
            Value::Tuple(_, depth) => *depth,
            _ => 0,
        });
        let depth = 1 + deepest.max().unwrap_or(0);
        let tuple = Value::Tuple(Rc::new(values), depth);
        self.stack.push(if depth <= DEEPEST { tuple } else { Value::Other });
        Ok(())
    }

    /// A function, or an object's class, and what it gets.
    fn call(&mut self) -> Checked<()> {
        let called = self.pop(2)?;
        let [Value::Global(module, name), argument] = &called[..] else {
            return Err("calls what is neither a function nor a class".to_owned());
        };
        let arguments = match argument {
            Value::Tuple(values, _) => &values[..],
            _ => &[],
        };
        self.stack.push(match (*module, *name) {
            (b"torch._utils", b"_rebuild_tensor_v2") => tensor(arguments)?,
            (b"torch._utils", b"_rebuild_qtensor") => quantised(arguments)?,
            (b"torch._utils", b"_rebuild_sparse_tensor") => sparse(arguments)?,
            (b"torch._utils" | b"torch._tensor", other) => {
                let other = String::from_utf8_lossy(other);
                return Err(format!("makes a tensor by {other}, which torch.jit.save never does"));
            }
            _ => Value::Other,
        });
        Ok(())
    }

    /// `("storage", type, record, device, elements)`
    fn storage(&mut self, size_of: &impl Fn(&str) -> Option<usize>) -> Checked<()> {
        let popped = self.pop(1)?;
        let [Value::Tuple(values, _)] = &popped[..] else {
            return Err("names a record by no tuple".to_owned());
        };
        let [
            Value::Text(b"storage"),
            Value::Global(b"torch", kind),
            Value::Text(record),
            Value::Text(_),
            Value::Int(count),
        ] = &values[..]
        else {
            return Err("names a record in an unknown way".to_owned());
        };
        let element = element(kind).ok_or_else(|| {
            format!("has a tensor of the unknown type {}", String::from_utf8_lossy(kind))
        })?;
        let record = std::str::from_utf8(record).unwrap_or_default();
        if record.is_empty() || !record.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("names a record {record:?}, which is no number"));
        }
        let claimed = count.checked_mul(element.bytes).filter(|bytes| *bytes >= 0);
        let claimed = claimed.ok_or_else(|| format!("has a tensor of {count} elements"))?;
        if claimed > 0 {
            let held = size_of(record).ok_or_else(|| format!("needs a record {record}"))?;
            if usize::try_from(claimed).is_ok_and(|claimed| claimed > held) {
                return Err(format!(
                    "has a tensor that claims {claimed} bytes, and its record {record} holds {held}"
                ));
            }
        }
        self.stack.push(Value::Storage(element, *count));
        Ok(())
    }
}

/// The elements of a storage, by its class in Python.
fn element(kind: &[u8]) -> Option<Element> {
    let (bytes, packed) = match kind {
        b"QUInt2x4Storage" => (1, 4),
        b"QUInt4x2Storage" => (1, 2),
        b"ByteStorage" | b"CharStorage" | b"BoolStorage" | b"QInt8Storage" | b"QUInt8Storage" => {
            (1, 1)
        }
        kind if kind.starts_with(b"Float8_") && kind.ends_with(b"Storage") => (1, 1),
        b"ShortStorage" | b"HalfStorage" | b"BFloat16Storage" | b"UInt16Storage" => (2, 1),
        b"IntStorage"
        | b"FloatStorage"
        | b"QInt32Storage"
        | b"UInt32Storage"
        | b"ComplexHalfStorage" => (4, 1),
        b"LongStorage" | b"DoubleStorage" | b"UInt64Storage" | b"ComplexFloatStorage" => (8, 1),
        b"ComplexDoubleStorage" => (16, 1),
        _ => return None,
    };
    Some(Element { bytes, packed })
}

fn numbers(value: &Value<'_>) -> Option<Vec<i64>> {
    let Value::Tuple(values, _) = value else { return None };
    let number = |value: &Value<'_>| match value {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    values.iter().map(number).collect()
}

/// `(storage, offset, size, stride, ...)`
fn tensor<'a>(arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let unknown = || "has a tensor that is described in an unknown way".to_owned();
    let [Value::Storage(element, held), Value::Int(offset), size, stride, ..] = arguments else {
        return Err(unknown());
    };
    let size = numbers(size).ok_or_else(unknown)?;
    let stride = numbers(stride).ok_or_else(unknown)?;
    let is_inside = size.len() == stride.len()
        && end_of(*offset, &size, &stride)
            .is_some_and(|end| held.checked_mul(element.packed).is_some_and(|held| end <= held));
    if !is_inside {
        return Err(format!(
            "has a tensor of size {size:?} and strides {stride:?} from {offset}, which reaches \
             beyond the {held} elements of its memory"
        ));
    }
    Ok(Value::Tensor(Some(Rc::new(size))))
}

/// How many elements the memory of a tensor must have; `None` if that or the count of its own
/// elements cannot be told.
fn end_of(offset: i64, size: &[i64], stride: &[i64]) -> Option<i64> {
    if offset < 0 || size.iter().chain(stride).any(|number| *number < 0) {
        return None;
    }
    // The largest element has 16 bytes; an axis of none is counted as if it had one.
    let count = size.iter().try_fold(16_i64, |count, size| count.checked_mul((*size).max(1)));
    count?;
    if size.contains(&0) {
        return Some(0);
    }
    let last = size.iter().zip(stride).try_fold(offset, |last, (size, stride)| {
        last.checked_add((size - 1).checked_mul(*stride)?)
    });
    last?.checked_add(1)
}

/// `(storage, offset, size, stride, (scheme, ...), ...)`
fn quantised<'a>(arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let made = tensor(arguments)?;
    let parameters = match arguments.get(4) {
        Some(Value::Tuple(parameters, _)) => &parameters[..],
        _ => &[],
    };
    let Value::Tensor(Some(size)) = &made else { return Ok(made) };
    let fits = match parameters {
        [Value::Global(b"torch", b"per_tensor_affine"), Value::Other, Value::Int(_), ..] => true,
        [
            Value::Global(b"torch", b"per_channel_affine" | b"per_channel_affine_float_qparams"),
            Value::Tensor(Some(scales)),
            Value::Tensor(Some(zeros)),
            Value::Int(axis),
            ..,
        ] => {
            let channels = usize::try_from(*axis).ok().and_then(|axis| size.get(axis));
            channels.is_some_and(|channels| scales[..] == [*channels] && zeros[..] == [*channels])
        }
        _ => return Err("has a tensor that is quantised in an unknown way".to_owned()),
    };
    if fits {
        Ok(made)
    } else {
        Err(format!("has a quantised tensor of size {size:?} with too few or too many scales"))
    }
}

/// libtorch's numbers of the sparse layouts that it saves.
const COO: i64 = 1;
const CSR: i64 = 2;

/// `(layout, size, requires_grad, indices..., values, ...)`. What the indices say is libtorch's to
/// compare (`setCheckSparseTensorInvariants`); here it is enough that they can be read.
fn sparse<'a>(arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let fits = match arguments {
        [Value::Int(layout @ (COO | CSR)), size, Value::Other, parts @ ..] => {
            let count = if *layout == COO { 2 } else { 3 };
            let tensors = parts.iter().take_while(|part| matches!(part, Value::Tensor(_)));
            numbers(size).is_some_and(|size| end_of(0, &size, &vec![0; size.len()]).is_some())
                && tensors.count() >= count
        }
        _ => false,
    };
    if fits {
        Ok(Value::Tensor(None))
    } else {
        Err("has a sparse tensor that is described in an unknown way".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a pickle of this body in a file whose record 0 has 16 bytes.
    fn checked(body: &[u8]) -> Result<(), String> {
        check(&[b"\x80\x02", body, b"."].concat(), |record| (record == "0").then_some(16))
    }

    /// Memory of so many floats in record 0.
    fn floats(count: u8) -> Vec<u8> {
        [
            &b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK"[..],
            &[count],
            b"tQ",
        ]
        .concat()
    }

    /// A tensor in memory of four floats.
    fn lying(offset: u8, size: &[u8], stride: &[u8]) -> Vec<u8> {
        let numbers = |numbers: &[u8]| {
            let each: Vec<u8> = numbers.iter().flat_map(|number| [b'K', *number]).collect();
            [b"(", &each[..], b"t"].concat()
        };
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            &floats(4)[..],
            &[b'K', offset],
            &numbers(size),
            &numbers(stride),
            b"\x89}tR",
        ]
        .concat()
    }

    #[test]
    fn a_tensor_may_lie_anywhere_within_its_memory_and_nowhere_else() {
        for (offset, size, stride) in [
            (0, &[4][..], &[1][..]),
            (0, &[2, 2], &[2, 1]),
            (2, &[2, 200], &[1, 0]),
            (0, &[], &[]),
            (9, &[0, 3], &[3, 1]),
        ] {
            checked(&lying(offset, size, stride)).expect("within");
        }
        for (offset, size, stride) in [
            (0, &[5][..], &[1][..]),
            (1, &[4], &[1]),
            (0, &[2, 2], &[3, 1]),
            (4, &[], &[]),
            (0, &[2, 2], &[1]),
        ] {
            checked(&lying(offset, size, stride)).expect_err("beyond");
        }
    }

    #[test]
    fn memory_is_no_larger_than_its_record() {
        checked(&floats(4)).expect("as large");
        assert!(checked(&floats(5)).expect_err("larger").contains("claims 20 bytes"));
    }

    #[test]
    fn numbers_that_overflow_reach_nowhere() {
        assert_eq!(end_of(0, &[i64::MAX, 2], &[1, 1]), None);
        assert_eq!(end_of(0, &[i64::MAX / 16, 1], &[17, 1]), None);
        assert_eq!(end_of(i64::MAX, &[1], &[1]), None);
        assert_eq!(end_of(0, &[-1], &[1]), None);
        assert_eq!(end_of(0, &[1 << 40, 1 << 40, 0], &[0, 0, 0]), None);
    }

    #[test]
    fn what_is_called_is_a_global_and_no_number_in_its_place() {
        checked(b"c__torch__\nNet\n)\x81}b").expect("an object");
        checked(b"K\x00)R").expect_err("a number");
        checked(b"ctorch._utils\n_rebuild_other\n)R").expect_err("an unknown way");
        // Nor is it hidden by a mark, or by what is remembered.
        checked(b"ctorch._utils\n_rebuild_tensor_v2\n(}R").expect_err("below the mark");
        checked(b"ctorch._utils\n_rebuild_tensor_v2\nq\x01)h\x01)Rt").expect_err("no tensor");
    }

    #[test]
    fn a_pickle_that_is_cut_off_or_endlessly_nested_is_no_panic() {
        let whole = lying(0, &[4], &[1]);
        for length in 0..whole.len() {
            let cut = check(&whole[..length], |_| Some(16));
            assert!(cut.is_err(), "{length}");
        }
        checked(&[&b")"[..], &vec![0x85; 1_000_000]].concat()).expect("only tuples");
    }
}
