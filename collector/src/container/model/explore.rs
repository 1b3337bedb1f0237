//! Breadth first through every state that can be reached: the first violation comes with the shortest way to it.

use super::{
    config::Config,
    world::{Broken, World},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    time::{Duration, Instant},
};

/// Words folded by a multiplication: the states are ours, nobody chooses them to collide.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n.cast_unsigned() as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// What an exploration found.
pub struct Explored {
    pub states: usize,
    pub steps: usize,
    pub depth: usize,
    /// States where nothing more happens by itself.
    pub ends: usize,
    pub outcomes: HashSet<World>,
    pub took: Duration,
    pub broken: Option<(Broken, Vec<&'static str>, Box<World>)>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, ends, took, .. } = self;
        write!(f, "{states} states, {steps} steps, depth {depth}, {ends} ends, {took:.1?}")?;
        if let Some((broken, way, world)) = &self.broken {
            write!(f, "\n{broken:?} after:\n  {}\n{world:?}", way.join("\n  "))?;
        }
        Ok(())
    }
}

/// All of it.
pub fn explore(cx: &Config) -> Explored {
    let began = Instant::now();
    let first = World::new(cx);
    let mut found = Explored {
        states: 1,
        steps: 0,
        depth: 0,
        ends: 0,
        outcomes: HashSet::new(),
        took: Duration::ZERO,
        broken: None,
    };
    let mut known: HashMap<World, u32, BuildHasherDefault<Fold>> = HashMap::default();
    known.insert(first, 0);
    let mut ways: Vec<(u32, &'static str)> = vec![(0, "")];
    let mut of_itself: Vec<(u32, u32)> = Vec::new();
    let mut level = vec![(0u32, first)];
    let mut next = Vec::new();
    let mut steps = Vec::new();
    while !level.is_empty() && found.depth < cx.depth {
        for (number, world) in level.drain(..) {
            steps.clear();
            world.kernel_steps(cx, &mut steps);
            for g in 0..cx.runs {
                world.shim_steps(cx, g, &mut steps);
                world.task_steps(cx, g, &mut steps);
            }
            world.node_steps(cx, &mut steps);
            let progress = steps.len();
            let broken = world.violated(cx).or_else(|| (progress == 0).then(|| world.stuck(cx)).flatten());
            if let Some(broken) = broken {
                found.broken = Some((broken, way(&ways, number), Box::new(world)));
                (found.states, found.took) = (known.len(), began.elapsed());
                return found;
            }
            if progress == 0 {
                found.ends += 1;
                found.outcomes.insert(world.outcome());
            }
            world.faults(cx, &mut steps);
            for (n, (name, to)) in steps.drain(..).enumerate() {
                found.steps += 1;
                let fresh = u32::try_from(known.len()).unwrap();
                let id = *known.entry(to).or_insert(fresh);
                if id == fresh {
                    ways.push((number, name));
                    next.push((id, to));
                }
                if n < progress {
                    of_itself.push((number, id));
                }
            }
        }
        std::mem::swap(&mut level, &mut next);
        found.depth += usize::from(!level.is_empty());
    }
    found.states = known.len();
    // States at the bound have no steps: they are in no circle.
    if let Some(number) = circle(known.len(), &of_itself) {
        let world = known.iter().find(|(_, n)| **n == number).map(|(world, _)| *world).unwrap();
        found.broken = Some((Broken::Stuck("it goes round in a circle"), way(&ways, number), Box::new(world)));
    }
    found.took = began.elapsed();
    found
}

fn way(ways: &[(u32, &'static str)], mut number: u32) -> Vec<&'static str> {
    let mut way = Vec::new();
    while number != 0 {
        let (from, name) = ways[number as usize];
        way.push(name);
        number = from;
    }
    way.reverse();
    way
}

/// A state from which the steps that come by themselves may never end; Kahn's algorithm.
fn circle(states: usize, steps: &[(u32, u32)]) -> Option<u32> {
    let mut begins = vec![0u32; states + 1];
    let mut before = vec![0u32; states];
    for (from, to) in steps {
        begins[*from as usize + 1] += 1;
        before[*to as usize] += 1;
    }
    for n in 0..states {
        begins[n + 1] += begins[n];
    }
    // They were found in the order of `from`.
    let mut free: Vec<u32> = (0..).take(states).filter(|n| before[*n as usize] == 0).collect();
    while let Some(from) = free.pop() {
        for (_, to) in &steps[begins[from as usize] as usize..begins[from as usize + 1] as usize] {
            before[*to as usize] -= 1;
            if before[*to as usize] == 0 {
                free.push(*to);
            }
        }
    }
    (0..).take(states).find(|n| before[*n as usize] > 0)
}
