use super::*;
use std::{future::Future, pin::pin, task::Poll};

fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn wanted(seat: &Seat) -> Option<()> {
    ready(std::future::poll_fn(|cx| seat.poll_wanted(cx)))
}

#[test]
fn no_more_than_there_are() {
    let seats = Seats::new(2, 1);
    let bells: Vec<Seat> = (0..2).map(|_| seats.take(Rank::Bell).unwrap()).collect();
    assert!(seats.take(Rank::Bell).is_none());
    assert!(bells.iter().all(|bell| wanted(bell).is_none()), "a bell is not worth more than a bell");
    drop(bells);
    assert_eq!(seats.figures(), (2, 0));
}

#[test]
fn what_is_worth_more_gets_one_at_once_and_the_eldest_goes() {
    let seats = Seats::new(2, 1);
    let (first, second) = (seats.take(Rank::Bell).unwrap(), seats.take(Rank::Bell).unwrap());
    let pidfd = seats.take(Rank::Pidfd).unwrap();
    assert_eq!((wanted(&first), wanted(&second)), (Some(()), None));
    assert!(seats.take(Rank::Pidfd).is_none(), "the overdraft is used up");
    drop(first);
    let another = seats.take(Rank::Pidfd).unwrap();
    assert!(wanted(&second).is_some());
    drop(second);
    assert_eq!(seats.figures(), (2, 2));
    assert!(seats.take(Rank::Pidfd).is_none(), "nothing is worth less");
    let orphan = seats.take(Rank::Sole).unwrap();
    assert!(wanted(&pidfd).is_some());
    drop((pidfd, another, orphan));
    assert_eq!(seats.figures(), (2, 0));
}

#[test]
fn what_nothing_else_can_tell_may_overdraw() {
    let seats = Seats::new(1, 1);
    let held = [seats.take(Rank::Sole).unwrap(), seats.take(Rank::Sole).unwrap()];
    assert!(seats.take(Rank::Sole).is_none());
    drop(held);
}

#[test]
fn the_line_is_served_by_worth_and_then_by_time() {
    let seats = Seats::new(1, 0);
    let taken = seats.take(Rank::Sole).unwrap();
    let mut bell = seats.wait(Rank::Bell);
    let (mut first, mut second) = (seats.wait(Rank::Pidfd), seats.wait(Rank::Pidfd));
    let gone = seats.wait(Rank::Sole);
    drop(gone);
    assert!(ready(first.seat()).is_none());
    drop(taken);
    assert!(ready(second.seat()).is_none() && ready(bell.seat()).is_none());
    drop(ready(first.seat()).unwrap());
    drop(ready(second.seat()).unwrap());
    assert!(ready(bell.seat()).is_some());
    // Handed out, but whoever it was for left before taking it.
    let late = seats.wait(Rank::Bell);
    assert_eq!(seats.figures(), (1, 1));
    drop(late);
    assert_eq!(seats.figures(), (1, 0));
}

#[test]
fn one_that_rises_is_not_asked_back_any_more() {
    let seats = Seats::new(2, 2);
    let (mut orphan, healthy) = (seats.take(Rank::Pidfd).unwrap(), seats.take(Rank::Pidfd).unwrap());
    let other = seats.take(Rank::Sole).unwrap();
    // Asked back already: somebody else goes instead.
    orphan.raise(Rank::Sole);
    assert_eq!((wanted(&orphan), wanted(&healthy)), (None, Some(())));
    drop((healthy, orphan, other));
    assert_eq!(seats.figures(), (2, 0));
}

#[test]
fn a_kernel_that_refuses_is_asked_again_later() {
    let seats = Seats::new(10, 1);
    let kept = seats.take(Rank::Pidfd).unwrap();
    let mut place = seats.wait(Rank::Bell);
    let refused = ready(place.seat()).unwrap();
    let mut place = seats.wait(Rank::Bell);
    let other = ready(place.seat()).unwrap();
    drop(other);
    refused.refused();
    assert_eq!(seats.figures(), (1, 1));
    let mut place = seats.wait(Rank::Bell);
    assert!(ready(place.seat()).is_none());
    seats.resize(10, 1);
    assert!(ready(place.seat()).is_some());
    drop(kept);
}

#[test]
fn a_limit_that_sinks_asks_back_what_is_too_much() {
    let seats = Seats::new(3, 1);
    let (bell, pidfd, sole) = (Rank::Bell, Rank::Pidfd, Rank::Sole);
    let [bell, pidfd, sole] = [bell, pidfd, sole].map(|rank| seats.take(rank).unwrap());
    seats.resize(1, 1);
    assert_eq!([&bell, &pidfd, &sole].map(|seat| wanted(seat).is_some()), [true, true, false]);
}
