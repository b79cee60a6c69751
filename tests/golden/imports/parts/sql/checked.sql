SELECT * FROM orders SEMI JOIN countries USING (country)
