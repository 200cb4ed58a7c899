package shop

import kotlin.math.max

/** An account of the shop. */
data class Account(val name: String, var balance: Long) : Counting {
    override fun total(): Long {
        val sum = entries().sumOf { it.amount }
        return max(sum, 0)
    }

    companion object {
        fun open(name: String): Account {
            val account = Account(name, 0)
            return account
        }
    }
}

interface Counting {
    fun total(): Long
    fun isEmpty(): Boolean {
        val total = total()
        return total == 0L
    }
}

object Registry {
    fun post(amount: Long) {
        when {
            amount > 0 -> add(amount)
            else -> throw IllegalArgumentException()
        }
    }
}

enum class State {
    OPEN,
    CLOSED;
}

fun <T> List<T>.second(): T {
    val rest = drop(1)
    return rest.first()
}

typealias Amount = Long
