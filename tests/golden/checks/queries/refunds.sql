-- A refund is not more than was paid.
SELECT * FROM 'refunds.csv' JOIN sales.orders USING (id) WHERE amount > price
