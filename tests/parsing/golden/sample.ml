open List

(** An account of the shop. *)
type account = {
  name : string;
  mutable balance : int;
}

exception Negative of int

module Ledger = struct
  let add account amount =
    if amount < 0 then raise (Negative amount);
    account.balance <- account.balance + amount

  let rec total = function
    | [] -> 0
    | entry :: rest -> entry.balance + total rest
end

module type COUNTING = sig
  val total : account list -> int
  val is_empty : account list -> bool
end

class registry name = object
  val mutable accounts = []
  method find key =
    let found = List.find (fun a -> a.name = key) accounts in
    found
end

let ( +! ) left right =
  let sum = left + right in
  max sum 0

let () =
  let account = open_account "a" in
  Ledger.add account 1
