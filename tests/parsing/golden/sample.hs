{-# LANGUAGE OverloadedStrings #-}
module Shop.Ledger (Account (..), add) where

import qualified Data.Map as Map

-- | An account of the shop.
data Account = Account
  { name :: Text
  , balance :: Int
  } deriving (Show, Eq)

newtype Amount = Amount
  { unAmount :: Int
  }

type Ledger =
  Map.Map Text
    Account

class Counting a where
  total :: a -> Int
  total _ = 0

instance Counting Account where
  total account =
    let amount = balance account
    in max amount 0

-- | Adds an amount.
add :: Int -> Account -> Either Text Account
add 0 _ = Left "nothing"
add amount account
  | amount < 0 = Left "negative"
  | otherwise = Right (post amount account)
  where
    post n a = a { balance = balance a + n }

sumAll :: [Account] -> Int
sumAll accounts = do
  let amounts = map balance accounts
  foldr (+) 0 amounts
