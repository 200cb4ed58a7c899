package shop

import scala.collection.mutable

/** An account of the shop. */
class Account(val name: String) extends Base with Counting {
  def total: Long = {
    val amounts = entries.map(_.amount)
    amounts.sum
  }

  def add(amount: Long): Unit = amount match {
    case 0 => ()
    case n => post(n)
  }
}

trait Counting {
  def total: Long
  def isEmpty: Boolean = {
    val sum = total
    sum == 0
  }
}

object Account {
  def open(name: String): Account = {
    val account = new Account(name)
    account
  }
}

case class Entry(amount: Long, note: String) {
  def isLarge: Boolean = {
    val limit = 100
    amount > limit
  }
}

enum State {
  case Open
  case Closed
}

def add(left: Int, right: Int): Int =
  val sum = left + right
  math.max(sum, 0)
