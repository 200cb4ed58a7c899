using System;

namespace Shop.Ledgers
{
    /// <summary>An account of the shop.</summary>
    [Serializable]
    public class Account : Base, ICounting
    {
        public Account(string name)
        {
            Name = name;
            Balance = 0;
        }

        public string Name { get; set; }

        public override long Total()
        {
            long sum = 0;
            foreach (var entry in Entries()) sum += entry.Amount;
            return sum;
        }

        public long Limit
        {
            get { return Compute(limit); }
            set { limit = value; }
        }

        public static Account operator +(Account a, long amount)
        {
            a.Add(amount);
            return a;
        }

        ~Account()
        {
            Close();
            Log("closed");
        }
    }

    public interface ICounting
    {
        long Total();
        bool IsEmpty();
    }

    public struct Money
    {
        public long Amount;
        public string Currency;
    }

    public enum State
    {
        Open,
        Closed
    }

    public record Entry(long Amount)
    {
        public bool IsLarge()
        {
            var large = Amount > 100;
            return large;
        }
    }
}
